#[test]
fn zz_debug() {
    use super::*;
    let Ok(text) = std::env::var("T") else { return };
    let mut tokens = tokens::Tokens::default();
    let c = crate::text::canonical::Canonical::of(&text, lexicon::FOLDING);
    tokens.fill(c.text(), tokens::View::Plain);
    let lex = LEXICON.as_ref().unwrap();
    lex.plain.find(&tokens, &mut lexicon::Waiting::default(), |c, a, b| {
        println!("{:?} {:?}", c, (a..=b).map(|i| tokens.word(i)).collect::<Vec<_>>())
    });
    let mut m = engine::Memory::default();
    engine::run(&tokens, &lex.plain, &mut m);
    for f in &m.matches {
        println!(
            "{} {:?} w={:.2} {}..{}",
            RULES[f.rule].id,
            RULES[f.rule].slots,
            f.weight,
            tokens.word(f.first),
            tokens.word(f.last)
        );
    }
    let (d, p) = InjectionDetector::compile(&PromptInjection::default());
    println!("{p:?}");
    let mut hits = vec![];
    let t = Text { text: &text, origin: crate::detect::Origin::User, key: None };
    println!("{:?} {:?}", d.unwrap().scan(t, &mut Scratch::default(), &mut hits), hits);
}

#[test]
fn zz_time() {
    #[expect(clippy::disallowed_types)]
    let t = std::time::Instant::now();
    let l = super::LEXICON.as_ref().unwrap();
    println!("{:?} {:?}", t.elapsed(), l.words.patterns_len());
}
