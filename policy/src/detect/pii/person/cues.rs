//! Words that speak of names, by what they say. Each list is written as in text; case and marks do not matter.

use super::lexicon::Known;

/// The lists.
pub(super) const WORDS: &[(Known, &str)] = &[
    (
        Known::PARTICLE,
        "van von der den de del della di da dos das do du la le el al bin ibn ben bint abu af av zu zur ter ten te 't e y \
         dela delos ul",
    ),
    (
        Known::TITLE,
        "mr mrs ms miss mister mx dr doctor prof professor sir madam dame lord lady rev reverend pastor father fr sister \
         brother imam rabbi sheikh dear hi hello hey hiya howdy attn herr herrn frau fräulein lieber liebe hallo moin \
         monsieur madame mademoiselle mme mlle mm cher chère bonjour salut señor señora señorita sr sra srta don doña \
         estimado estimada querido querida hola senhor senhora dona prezado prezada caro cara olá oi signor signora \
         signore signorina sig dott dottor dottoressa gentile egregio ciao meneer mevrouw dhr mevr geachte beste lieve \
         hoi herre fru fröken hej kära bästa kjære hei kære pan pana panu panem pani panią szanowny szanowna drogi droga \
         cześć witaj sayın bay bayan merhaba domnul doamna domnule dragă stimate stimată vážený vážená milý milá \
         tisztelt kedves kyrie kyria уважаемый уважаемая дорогой дорогая господин госпожа привет здравствуйте named née \
         alias president senator governor congressman congresswoman mayor judge captain capt sgt sergeant lieutenant lt \
         colonel col general gen major officer coach chef king queen prince princess pope saint uncle auntie aunt",
    ),
    (
        Known::ROLE,
        "patient customer client user employee colleague coworker manager supervisor passenger driver tenant landlord \
         author husband wife friend daughter son mother dad mom mum uncle aunt cousin nephew niece boss neighbour \
         neighbor roommate partner girlfriend boyfriend fiancé fiancée teacher student applicant candidate contact \
         member subscriber policyholder cardholder beneficiary recipient sender buyer seller attendee actor actress \
         singer rapper player striker goalkeeper quarterback director ceo cto cfo founder cofounder spokesman \
         spokeswoman spokesperson minister chancellor guitarist drummer comedian journalist reporter agent nurse \
         attorney lawyer secretary assistant witness defendant plaintiff suspect victim kunde kundin kunden patientin \
         mitarbeiter mitarbeiterin kollege kollegin kollegen chef chefin freund freundin bruder schwester mutter vater \
         cliente clienta paciente empleado empleada compañero compañera amigo amiga hermano hermana usuario usuaria \
         cliente funcionário funcionária colega irmão irmã client cliente patiente collègue ami amie frère soeur \
         utilisateur salarié salariée paziente dipendente collega amico amica fratello sorella klant patiënt collega \
         vriend vriendin broer zus kund kunden patienten kollega vän bror syster klient klienta klientka klientem \
         pacjent pacjentka pracownik kolega koleżanka brat siostra клиент клиента клиенту клиентом клиентка пациент \
         пациента пациентка сотрудник сотрудника сотрудница коллега друг брат сестра",
    ),
    (
        Known::DEED,
        "contact contacted call called calling ring phone email emailed mail mailed ask asked tell told let thank thanks \
         remind invite invited notify notified inform informed message messaged text texted ping pinged pay paid refund \
         refunded meet met meeting see saw saying spoke speak speaking talk talked talking write wrote written writing \
         reply replied replying respond responded send sent sending forward forwarded assign assigned address addressed \
         belongs belong belonging issued given filed signed owned reported submitted made led hosted presented prepared \
         credited charged registered booked reserved delivered shipped addressed sold transferred transfer hire hired \
         fire fired promote promoted interview interviewed introduce introduced feedback invitation birthday letter \
         behalf regards request requested provided approved rejected reviewed authored edited created managed treated \
         diagnosed treated married love loves loved miss missed misses hate hates know knows knew visit visited \
         bel bellen mailen stuur schrijf neem contacteer kontakta ringa maila skicka skriv scrivi chiama contatta invia \
         invii manda escribe llama contacta envía envíe manda pertenece escreva ligue contate envie mande pertence \
         rédige écris appelle appelez contacte contactez envoie envoyez appartient appartiene gehört schreiben antwort \
         anrufen kontaktieren senden schicken informieren fragen bitten zadzwoń zadzwonić napisz napisać skontaktuj \
         wyślij powiadom należy kontakt kontaktuj свяжитесь позвоните напишите отправьте сообщите передайте спросите",
    ),
    (
        Known::TO,
        "by with to for from of and an für von mit bei und à pour par avec chez et a para por con de y com do da di per e \
         ed voor met aan naar en till til från fra av med för och og dla od z przez i к с от для у и ile için ve",
    ),
    (
        Known::DOES,
        "said says say wrote writes asked asks lives lived works worked has had is was will would can could should wants \
         wanted went came comes joined joins signed sent sends died born thinks thought likes liked loves loved did does \
         knows knew called calls told tells gave gives got gets made makes took takes bought paid pays needs needed left \
         leaves moved started starts won lost plays played applied presented reported confirmed agreed refused replied \
         booked ordered requested submitted prepared attended announced replaced visits visited looks looked seems feels \
         just sagt sagte schreibt schrieb wohnt wohnte arbeitet bittet bat hat hatte ist war möchte will wird kann a dit \
         habite travaille est veut peut dice dijo vive trabaja es quiere tiene puede disse mora trabalha é quer tem pode \
         dice ha abita lavora vuole può zegt woont werkt heeft wil kan is säger bor arbetar har vill kan är powiedział \
         powiedziała mieszka pracuje jest ma chce сказал сказала живет работает хочет пишет написал",
    ),
    (
        Known::THING,
        "theorem law laws rule rules test equation equations transform distribution algorithm effect number constant award \
         awards prize university college school institute academy street st road rd avenue ave boulevard blvd lane drive \
         square park bridge bank banking center centre hospital clinic airport river lake mountain mountains island \
         islands beach bay valley falls stadium arena tower building hall house castle cathedral church station terminal \
         hotel museum theatre theater library gallery inc ltd llc corp corporation company co gmbh plc group holdings \
         partners capital foundation trust fund industries motors airlines records studios pictures entertainment media \
         press times post news journal magazine cup league championship tournament trophy county city town village \
         district province state territory cluster database server connector language framework platform protocol syndrome \
         disease war wars act scale method process filter model machine problem paradox curve series sequence space \
         conjecture hypothesis lemma principle equilibrium inequality statistic coefficient matrix sort tree rules razor \
         dynasty empire republic revolution treaty doctrine plan report commission committee market merger stadium show \
         movie film album song day street platz straße strasse allee universität krankenhaus rue université hôpital calle \
         universidad hospital plaza rua via piazza università ospedale straat plein universiteit ziekenhuis gatan",
    ),
    (
        Known::PLACE,
        "san santa santo são saint fort mount lake los las el port cape north south east west new upper lower st",
    ),
    (
        Known::CLOSING,
        "regards sincerely cheers thanks thank best yours cordially respectfully truly faithfully wishes love grüße grüßen \
         gruß mfg cordialement salutations saludos atentamente atenciosamente abraços saluti groet groeten hoogachtend \
         hälsningar mvh hilsen pozdrawiam poważaniem уважением signed signature",
    ),
    (
        Known::NAME,
        "name names fullname firstname lastname surname username customer_name nombre nome nom naam namn navn nazwisko \
         imię имя фамилия фио vorname nachname prénom apellido sobrenome cognome achternaam from to cc bcc attn author \
         signed contact assignee owner reporter recipient cardholder holder passenger kontoinhaber titulaire titular",
    ),
];

/// Syllables of Korean given names in Latin letters.
pub(super) const KOREAN: &str = "ah ahn ae bae beom bin bo bok bong bum byeong byung cha chae chan cheol chul dae deok do \
    dong duk eok eul eun ga gak geun gi gil go gon gook gu gun gwang gyeong gyu ha hae hak han hee heon heung hui hun ho hong \
    hoon hwa hwan hye hyeok hyeon hyo hyuk hyun hyung il im in jae jang je jeong ji jin jo jong joo joon ju jun jung ka kang \
    keun ki kook kwan kwang kyeong kyo kyu kyun kyung lan lim man mi min moo moon mu mun myeong myung na nam nari no rae ran \
    rim ryul sa sam san sang se seo seob seok seon seong seop seul seung shik shin si sik so sol sook soo soon su suk sul sun \
    sung tae taek u ui un wan won woo wook yang ye yeol yeon yeong yi yong yoo yool yoon young yu yul yun yung";

/// Endings of family names that hardly any word has, from six letters on.
pub(super) const ENDINGS_LONG: &str = "ovic evic ovich evich enko czyk wicz opoulos opoulou akis idis yan dze shvili oglu \
    sson dottir escu quist qvist strom gren auskas aitis iene swamy murthy nathan ovsky evsky owski ewski inski owska ewska \
    cki cka ович евич енко чук ский цкий ская цкая ского скому ским ской ян дзе швили";

/// Endings of family names that some words have too, from seven letters on.
pub(super) const ENDINGS: &str = "ov ev ova eva sen ski ska sky ez berg mann stein lund holm nen elli etti ucci inho ов ев ин \
    ова ева ина ову еву ину овым евым иным овой евой иной ом";

/// Endings of patronymics, declined too.
pub(super) const PATRONYMICS: &str = "ович евич овна евна ична инична овича евича овичу евичу овичем евичем овной евной овне \
    евне овну евну ovich evich ovna evna ichna";
