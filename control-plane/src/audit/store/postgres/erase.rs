//! Erasing a person: the name, its key, and the bytes that both have left behind.
//!
//! A deleted row stays in its file until something else is written over it. So an erasure writes all names but one into
//! new files and lets go of the old ones, which the server cuts to nothing at the commit.

use kt_audit::{InstanceId, Pseudonym};
use uuid::Uuid;

use super::{
    super::{Erased, Erasing, Erasure, ToErase, Who},
    codes::{natural, text},
    keep,
    link::{Fault, Link, Writing},
    read::fixed,
    write::bytes,
};

pub(super) async fn erase(link: &mut Link, erasure: Erasure) -> Result<Erasing, Fault> {
    let mut writing = link.transaction().await?;
    let Some(person) = person(&mut writing, erasure.who).await? else { return Ok(Erasing::Unknown) };
    keep::no_new_holds(&writing).await?;
    let held = keep::held(&mut writing, &person).await?;
    if !held.is_empty() && !erasure.is_repeat && !is_erased(&mut writing, &person).await? {
        return Ok(Erasing::Held(held));
    }
    destroy(&mut writing, &erasure, &person).await?;
    let erased = outcome(&mut writing, erasure.id, &person).await?;
    writing.commit().await?;
    Ok(Erasing::Done(erased))
}

async fn is_erased(writing: &mut Writing<'_>, person: &[u8; 16]) -> Result<bool, Fault> {
    let person = person.as_slice();
    let found = writing
        .query_opt("SELECT 1 FROM persons WHERE person = $1 AND erased_us IS NOT NULL", &[&person])
        .await?;
    Ok(found.is_some())
}

async fn person(writing: &mut Writing<'_>, who: Who) -> Result<Option<[u8; 16]>, Fault> {
    match who {
        Who::Person(person) => Ok(Some(bytes(person))),
        Who::Behind(pseudonym) => {
            let found = writing
                .query_opt(
                    "SELECT person FROM pseudonyms WHERE pseudonym = $1 LIMIT 1",
                    &[&bytes(pseudonym).as_slice()],
                )
                .await?;
            found.map(|row| fixed(&row, 0)).transpose()
        }
    }
}

/// Whoever is erased already keeps their first erasure.
async fn destroy(writing: &mut Writing<'_>, erasure: &Erasure, person: &[u8; 16]) -> Result<(), Fault> {
    let person = person.as_slice();
    // First: whoever is just bringing the name is waited for, and whoever brings it later finds the person erased.
    let is_first = writing
        .query_opt(
            "INSERT INTO persons AS p (person, erased_us, erasure, reference) VALUES ($1, $2, $3, $4)
             ON CONFLICT (person) DO UPDATE SET erased_us = $2, erasure = $3, reference = $4
             WHERE p.erased_us IS NULL RETURNING 1",
            &[&person, &erasure.now_us, &erasure.id, &text(&erasure.reference)],
        )
        .await?;
    if is_first.is_none() {
        return Ok(());
    }
    writing.batch("LOCK TABLE names IN ACCESS EXCLUSIVE MODE").await?;
    let unsealed = writing.execute("DELETE FROM names WHERE person = $1", &[&person]).await?;
    if unsealed == 0 {
        return Ok(());
    }
    let unsealed = i64::try_from(unsealed).unwrap_or(i64::MAX);
    writing.execute("UPDATE persons SET unsealed = $2 WHERE person = $1", &[&person, &unsealed]).await?;
    writing
        .batch(
            "CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM names;
             TRUNCATE names;
             INSERT INTO names SELECT * FROM kept",
        )
        .await
}

async fn outcome(writing: &mut Writing<'_>, id: Uuid, of: &[u8; 16]) -> Result<Erased, Fault> {
    let person = of.as_slice();
    let pseudonyms = writing
        .query("SELECT DISTINCT pseudonym FROM pseudonyms WHERE person = $1 ORDER BY pseudonym", &[&person])
        .await?
        .iter()
        .map(|row| Ok(Pseudonym::from_bytes(fixed(row, 0)?)))
        .collect::<Result<_, Fault>>()?;
    let sealed = writing
        .query_opt("SELECT unsealed FROM persons WHERE person = $1 AND erasure = $2", &[&person, &id])
        .await?;
    let sealed = sealed.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
    let pending = writing
        .query_one(
            "SELECT count(DISTINCT a.instance_no) FROM pseudonyms a
             LEFT JOIN erased_by e ON e.instance_no = a.instance_no AND e.pseudonym = a.pseudonym
             WHERE a.person = $1 AND e.pseudonym IS NULL",
            &[&person],
        )
        .await?;
    Ok(Erased {
        person: Some(Pseudonym::from_bytes(*of)),
        pseudonyms,
        sealed: natural(sealed),
        pending: natural(pending.try_get(0)?),
    })
}

pub(super) async fn erasures(link: &mut Link, instance: InstanceId) -> Result<Vec<ToErase>, Fault> {
    link.asking()
        .query(
            "SELECT DISTINCT p.erased_us, p.erasure, a.pseudonym, p.reference FROM pseudonyms a
             JOIN persons p ON p.person = a.person JOIN instances i ON i.no = a.instance_no
             WHERE i.instance = $1 AND p.erased_us IS NOT NULL ORDER BY p.erased_us, a.pseudonym",
            &[&instance.0],
        )
        .await?
        .iter()
        .map(|row| {
            let reference: String = row.try_get(3)?;
            Ok(ToErase {
                id: row.try_get(1)?,
                pseudonym: Pseudonym::from_bytes(fixed(row, 2)?),
                reference: reference.into(),
            })
        })
        .collect()
}

pub(super) async fn put_erased(
    link: &mut Link,
    instance: InstanceId,
    pseudonym: Pseudonym,
    now_us: i64,
) -> Result<(), Fault> {
    link.asking()
        .execute(
            "INSERT INTO erased_by (instance_no, pseudonym, erased_us)
             SELECT no, $2, $3 FROM instances WHERE instance = $1 ON CONFLICT DO NOTHING",
            &[&instance.0, &bytes(pseudonym).as_slice(), &now_us],
        )
        .await?;
    Ok(())
}
