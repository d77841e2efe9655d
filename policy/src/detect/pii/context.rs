//! Words that say what a number is. They count as whole words only, in any case, in several languages; the key of a
//! JSON leaf counts like a word before the text.

use std::{collections::BTreeMap, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind, StartKind};

/// What a word speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Topic {
    Phone,
    Card,
    Cvv,
    Ssn,
    Itin,
    Passport,
    Licence,
    Bank,
    Routing,
    Nhs,
    Crypto,
    MedicalRecord,
    HealthInsurance,
    Npi,
    Mail,
    /// Numbers of other things: orders, versions, books.
    OtherNumber,
    /// What stands before the number of a release.
    Version,
}

impl Topic {
    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

const PHRASES: &[(Topic, &[&str])] = &[
    (
        Topic::Phone,
        &[
            "phone",
            "phones",
            "telephone",
            "tel",
            "mobile",
            "cell",
            "cellphone",
            "cell phone",
            "landline",
            "fax",
            "telefax",
            "call",
            "calls",
            "called",
            "calling",
            "ring",
            "dial",
            "dialed",
            "text me",
            "texted",
            "sms",
            "whatsapp",
            "signal",
            "telegram",
            "viber",
            "hotline",
            "helpline",
            "voicemail",
            "contact number",
            "reach me",
            "reach him",
            "reach her",
            "reach them",
            "reached at",
            "reachable",
            "msisdn",
            "callback",
            "extension",
            // German, Dutch, Scandinavian
            "telefon",
            "telefonnummer",
            "rufnummer",
            "handy",
            "handynummer",
            "mobil",
            "mobilnummer",
            "mobiltelefon",
            "festnetz",
            "anrufen",
            "anruf",
            "rückruf",
            "ruf",
            "rufen",
            "erreichbar",
            "telefoonnummer",
            "telefoon",
            "mobiele",
            "gsm",
            "bel",
            "bellen",
            "puhelin",
            "puhelinnumero",
            "tlf",
            "ring på",
            "tfn",
            "nummer",
            "numret",
            // Romance
            "téléphone",
            "portable",
            "appeler",
            "appelle",
            "appelez",
            "joindre",
            "teléfono",
            "telefono",
            "móvil",
            "movil",
            "celular",
            "llamar",
            "llame",
            "llámame",
            "telefone",
            "telemóvel",
            "telemovel",
            "ligar",
            "ligue",
            "cellulare",
            "chiamare",
            "chiama",
            "chiamami",
            "numero",
            "número",
            "numéro",
            "telefonul",
            "numărul",
            // Slavic, Turkish, Asian
            "numer",
            "zadzwonić",
            "zadzwoń",
            "komórka",
            "komórkowy",
            "телефон",
            "телефону",
            "телефона",
            "тел",
            "номер",
            "номеру",
            "позвонить",
            "позвоните",
            "звоните",
            "моб",
            "číslo",
            "mobilní",
            "telefonní",
            "telefonu",
            "cep",
            "ara",
            "arayın",
            "电话",
            "電話",
            "手机",
            "手機",
            "致电",
            "联系",
            "聯絡",
            "携帯",
            "番号",
            "전화",
            "전화번호",
            "휴대폰",
            "फोन",
            "मोबाइल",
            "هاتف",
            "جوال",
            "טלפון",
        ],
    ),
    (
        Topic::Card,
        &[
            "card",
            "credit card",
            "debit card",
            "visa",
            "mastercard",
            "amex",
            "american express",
            "discover",
            "maestro",
            "cc",
            "pan",
            "card number",
            "kreditkarte",
            "karte",
            "carte",
            "tarjeta",
            "cartão",
            "carta di credito",
            "karta",
            "карта",
            "карты",
            "карту",
            "信用卡",
            "カード",
            "kaart",
            "kort",
        ],
    ),
    (
        Topic::Cvv,
        &[
            "cvv",
            "cvv2",
            "cvc",
            "cvc2",
            "cid",
            "csc",
            "security code",
            "card code",
            "card verification",
            "prüfziffer",
            "kartenprüfnummer",
            "cryptogramme",
            "código de seguridad",
            "código de segurança",
            "codice di sicurezza",
            "код безопасности",
            "安全码",
            "セキュリティコード",
        ],
    ),
    (
        Topic::Ssn,
        &[
            "ssn",
            "ssns",
            "ssn's",
            "social security",
            "social security number",
            "soc sec",
            "ss#",
            "socials",
            "social security no",
            "seguro social",
            "sozialversicherungsnummer",
            "sécurité sociale",
        ],
    ),
    (
        Topic::Itin,
        &[
            "itin",
            "itins",
            "taxpayer",
            "tax id",
            "taxpayer id",
            "taxpayer identification",
            "individual taxpayer",
            "tin",
        ],
    ),
    (
        Topic::Passport,
        &[
            "passport",
            "passports",
            "passport number",
            "passport no",
            "travel document",
            "reisepass",
            "passnummer",
            "pass",
            "passeport",
            "pasaporte",
            "passaporte",
            "passaporto",
            "paspoort",
            "paszport",
            "paszportu",
            "pas",
            "паспорт",
            "паспорта",
            "护照",
            "護照",
            "パスポート",
            "旅券",
            "여권",
            "جواز",
        ],
    ),
    (
        Topic::Licence,
        &[
            "driver's license",
            "drivers license",
            "driver license",
            "driver's licence",
            "drivers licence",
            "driver licence",
            "driving licence",
            "driving license",
            "driver lic",
            "drivers lic",
            "license number",
            "licence number",
            "license no",
            "licence no",
            "dl",
            "dl#",
            "dln",
            "dlno",
            "dl number",
            "dl no",
            "driver id",
            "permit number",
            "state id",
            "learner's permit",
            "dmv",
            "führerschein",
            "führerscheinnummer",
            "permis de conduire",
            "licencia de conducir",
            "permiso de conducir",
            "carteira de motorista",
            "patente",
            "rijbewijs",
            "prawo jazdy",
            "prawa jazdy",
            "körkort",
            "водительское удостоверение",
            "водительские права",
            "驾照",
            "驾驶证",
            "運転免許",
            "運転免許証",
        ],
    ),
    (
        Topic::Bank,
        &[
            "account number",
            "account no",
            "account num",
            "account #",
            "account",
            "acct",
            "acct no",
            "acct number",
            "acc no",
            "a/c",
            "bank account",
            "checking",
            "savings",
            "checking account",
            "savings account",
            "bank",
            "deposit",
            "direct deposit",
            "wire",
            "ach",
            "credit union",
            "konto",
            "kontonummer",
            "compte",
            "cuenta",
            "conta",
            "conto",
            "rekening",
            "rekeningnummer",
            "rachunek",
            "rachunku",
            "konta",
            "счет",
            "счёт",
            "счета",
            "账户",
            "账号",
            "帳戶",
            "口座",
            "口座番号",
            "beneficiary",
        ],
    ),
    (Topic::Routing, &["routing", "routing number", "aba", "rtn", "transit number", "aba number"]),
    (
        Topic::Nhs,
        &[
            "nhs",
            "nhs number",
            "nhs no",
            "national health service",
            "patient",
            "health number",
            "gp",
            "ward",
            "hospital number",
        ],
    ),
    (
        Topic::Crypto,
        &[
            "btc",
            "bitcoin",
            "bitcoins",
            "eth",
            "ethereum",
            "ether",
            "wallet",
            "wallets",
            "crypto",
            "cryptocurrency",
            "usdt",
            "usdc",
            "erc20",
            "erc-20",
            "bep20",
            "token",
            "tokens",
            "nft",
            "metamask",
            "ledger",
            "litecoin",
            "ltc",
            "doge",
            "dogecoin",
            "tron",
            "trx",
            "trc20",
            "satoshi",
            "coin",
            "coins",
            "donate",
            "donation",
            "donations",
            "address",
            "blockchain",
            "polygon",
            "bnb",
            "кошелек",
            "кошелёк",
            "钱包",
            "地址",
            "ウォレット",
            "geldbörse",
            "portefeuille",
            "cartera",
            "monedero",
            "carteira",
            "portafoglio",
            "portfel",
            "adresse",
            "dirección",
            "endereço",
        ],
    ),
    (
        Topic::MedicalRecord,
        &[
            "mrn",
            "mrn#",
            "medical record",
            "medical record number",
            "medical record no",
            "med rec",
            "chart number",
            "chart no",
            "chart #",
            "patient id",
            "patient number",
            "patient no",
            "hospital number",
            "patientennummer",
            "fallnummer",
            "numéro de dossier",
            "historia clínica",
            "record number",
        ],
    ),
    (
        Topic::HealthInsurance,
        &[
            "member id",
            "member number",
            "member no",
            "policy number",
            "policy no",
            "insurance id",
            "insurance number",
            "health insurance",
            "health plan",
            "subscriber id",
            "subscriber number",
            "group number",
            "beneficiary number",
            "medicare",
            "medicaid",
            "mbi",
            "hicn",
            "insurance",
            "versichertennummer",
            "krankenversicherung",
            "numéro d'assuré",
            "mutuelle",
            "health card",
        ],
    ),
    (
        Topic::Npi,
        &[
            "npi",
            "npi#",
            "npi number",
            "national provider",
            "national provider identifier",
            "provider id",
            "provider number",
        ],
    ),
    (
        Topic::Mail,
        &[
            "mail",
            "email",
            "e-mail",
            "mails",
            "emails",
            "mailbox",
            "inbox",
            "mailto",
            "courriel",
            "correo",
            "posta",
            "contact",
            "write to",
            "reach",
            "write",
            "send",
            "почта",
            "почту",
            "邮箱",
            "邮件",
            "メール",
            "이메일",
        ],
    ),
    (
        Topic::OtherNumber,
        &[
            "order",
            "orders",
            "order number",
            "order no",
            "order id",
            "invoice",
            "invoices",
            "tracking",
            "tracking number",
            "shipment",
            "parcel",
            "ticket",
            "case",
            "case number",
            "isbn",
            "issn",
            "doi",
            "sku",
            "upc",
            "ean",
            "asin",
            "serial",
            "serial number",
            "part number",
            "part no",
            "model",
            "commit",
            "uuid",
            "guid",
            "hash",
            "sha",
            "md5",
            "checksum",
            "build",
            "pid",
            "port",
            "ports",
            "timestamp",
            "epoch",
            "unix time",
            "unix",
            "seed",
            "row",
            "rows",
            "id",
            "ids",
            "ref",
            "reference",
            "transaction",
            "receipt",
            "quantity",
            "qty",
            "total",
            "amount",
            "price",
            "usd",
            "eur",
            "gbp",
            "vat",
            "page",
            "pages",
            "line",
            "lines",
            "chapter",
            "verse",
            "offset",
            "bytes",
            "size",
            "width",
            "height",
            "pixels",
            "job",
            "run",
            "batch",
            "bug",
            "issue",
            "pr",
            "pull request",
            "revision",
            "rev",
            "patent",
            "population",
            "latitude",
            "longitude",
            "lat",
            "lon",
            "coordinates",
            "zip",
            "plate",
            "flight",
            "room",
            "bestellung",
            "bestellnummer",
            "rechnung",
            "rechnungsnummer",
            "sendung",
            "sendungsnummer",
            "auftrag",
            "commande",
            "facture",
            "colis",
            "suivi",
            "pedido",
            "factura",
            "seguimiento",
            "fatura",
            "encomenda",
            "ordine",
            "fattura",
            "spedizione",
            "bestelling",
            "factuur",
            "zamówienie",
            "faktura",
            "заказ",
            "счет-фактура",
            "订单",
            "发票",
            "注文",
            "請求書",
            "gtin",
            "vin",
            "imei",
            "tax",
            "license key",
            "product key",
        ],
    ),
    (
        Topic::Version,
        &[
            "version",
            "versions",
            "build",
            "release",
            "v",
            "ver",
            "rev",
            "firmware",
            "driver",
            "upgrade",
            "upgraded",
            "update",
            "updated",
            "patch",
            "python",
            "gcc",
            "node",
            "kernel",
            "sdk",
            "api",
            "chrome",
            "firefox",
            "windows",
            "section",
            "sections",
            "chapter",
            "clause",
            "paragraph",
            "figure",
            "table",
            "step",
            "oid",
            "package",
            "numpy",
            "library",
            "connector",
            "plugin",
            "module",
            "software",
            "rfc",
        ],
    ),
];

/// The automaton over all phrases, and what each of them speaks of.
static DICTIONARY: LazyLock<Option<(AhoCorasick, Vec<u32>)>> = LazyLock::new(|| {
    // A phrase may speak of several things.
    let mut topics: BTreeMap<&str, u32> = BTreeMap::new();
    for &(topic, phrases) in PHRASES {
        for &phrase in phrases {
            *topics.entry(phrase).or_default() |= topic.bit();
        }
    }
    let automaton = AhoCorasickBuilder::new()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .kind(Some(AhoCorasickKind::DFA))
        .start_kind(StartKind::Unanchored)
        .build(topics.keys())
        .ok()?;
    Some((automaton, topics.into_values().collect()))
});

/// A word and what it speaks of.
#[derive(Debug, Clone, Copy)]
struct Mark {
    start: usize,
    end: usize,
    topics: u32,
}

/// The words of one text that speak of numbers, by place.
#[derive(Debug, Default)]
pub(super) struct Context {
    marks: Vec<Mark>,
    /// What the key that the text stands under speaks of.
    key: u32,
    /// What the first line speaks of when it looks like the head of a table.
    head: u32,
    head_end: usize,
}

impl Context {
    /// Reads `text`, which stands under `key`.
    pub(super) fn read(&mut self, text: &str, key: Option<&str>) {
        self.marks.clear();
        self.key = key.map_or(0, topics_of_key);
        let marks = &mut self.marks;
        each(text, |start, end, topics| marks.push(Mark { start, end, topics }));
        self.read_heads(text);
    }

    /// The last line before the first row that looks like the head of a table (`name,email,phone`).
    fn read_heads(&mut self, text: &str) {
        self.head = 0;
        self.head_end = 0;
        let mut start = 0;
        for line in text.split_inclusive('\n').take(64) {
            let end = start + line.len();
            let mut cells = line.split([',', '|', '\t', ';']).map(str::trim).filter(|cell| !cell.is_empty());
            // Names of columns are short; a sentence with a comma is no head.
            let short =
                cells.clone().count() >= 2 && cells.all(|cell| cell.len() <= 24 && !cell.ends_with('.'));
            if short && line.ends_with('\n') && !line.bytes().any(|byte| byte.is_ascii_digit()) {
                let topics = self.between(start, end);
                if topics != 0 {
                    self.head = topics;
                    self.head_end = end;
                    return;
                }
            }
            start = end;
        }
    }

    fn between(&self, start: usize, end: usize) -> u32 {
        let from = self.marks.partition_point(|mark| mark.start < start);
        self.marks.iter().skip(from).take_while(|mark| mark.end <= end).fold(0, |all, mark| all | mark.topics)
    }

    /// How near the nearest word on `topic` stands to the piece from `start` to `end`, in bytes: before it within
    /// `before`, or after it within `after`. The key of the leaf and the head of a table count as standing
    /// [`Context::KEY`] bytes away.
    pub(super) fn distance(
        &self,
        topic: Topic,
        start: usize,
        end: usize,
        before: usize,
        after: usize,
    ) -> Option<usize> {
        let at = self.marks.partition_point(|mark| mark.start < start);
        let left = self
            .marks
            .iter()
            .take(at)
            .rev()
            .map(|mark| (start.saturating_sub(mark.end), mark))
            .take_while(|&(distance, _)| distance <= before)
            .find(|(_, mark)| mark.topics & topic.bit() != 0)
            .map(|(distance, _)| distance);
        let right = self
            .marks
            .iter()
            .skip(at)
            .filter(|mark| mark.start >= end)
            .map(|mark| (mark.start - end, mark))
            .take_while(|&(distance, _)| distance <= after)
            .find(|(_, mark)| mark.topics & topic.bit() != 0)
            // A word after a number more often speaks of the next thing.
            .map(|(distance, _)| distance + 8);
        let fixed = (self.key & topic.bit() != 0 || (start >= self.head_end && self.head & topic.bit() != 0))
            .then_some(Self::KEY.min(before));
        [left, right, fixed].into_iter().flatten().min()
    }

    /// The ends of the words on `topic`, in order; 0 first when the key of the leaf speaks of it.
    pub(super) fn ends(&self, topic: Topic) -> impl Iterator<Item = usize> {
        let key = (self.key & topic.bit() != 0).then_some(0);
        key.into_iter()
            .chain(self.marks.iter().filter(move |mark| mark.topics & topic.bit() != 0).map(|mark| mark.end))
    }

    /// Whether a word on `topic` stands near, as in [`Context::distance`].
    pub(super) fn near(&self, topic: Topic, start: usize, end: usize, before: usize, after: usize) -> bool {
        self.distance(topic, start, end, before, after).is_some()
    }

    /// How far away the key of a leaf counts as standing.
    pub(super) const KEY: usize = 12;
}

/// Calls `found` for each phrase that stands in `text` as whole words.
fn each(text: &str, mut found: impl FnMut(usize, usize, u32)) {
    let Some((automaton, topics)) = DICTIONARY.as_ref() else { return };
    for hit in automaton.find_iter(text) {
        let apart = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() && !is_unspaced(c));
        let before = text.get(..hit.start()).and_then(|rest| rest.chars().next_back());
        let after = text.get(hit.end()..).and_then(|rest| rest.chars().next());
        if apart(before) && apart(after) {
            found(hit.start(), hit.end(), topics.get(hit.pattern().as_usize()).copied().unwrap_or(0));
        }
    }
}

/// Scripts that do not set words apart, where a word may stand anywhere.
fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x0e00..=0x0eff | 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff)
}

/// What a key speaks of: `customerPhone`, `phone_number` and `Phone number` alike.
fn topics_of_key(key: &str) -> u32 {
    let mut spaced = String::with_capacity(key.len() + 8);
    let mut lower = false;
    for c in key.chars().take(128) {
        if c.is_uppercase() && lower {
            spaced.push(' ');
        }
        lower = c.is_lowercase();
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
    }
    let mut all = 0;
    each(&spaced, |_, _, topics| all |= topics);
    all
}
