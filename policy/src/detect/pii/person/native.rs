//! Names in scripts of their own: Cyrillic by patronymic and family name, Chinese and Korean by family name and what
//! stands around, Japanese by family name and honorific.

use super::super::{found::Claims, found::Kind, view::View};

/// Family names of one character that are common in Chinese.
const CHINESE: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤常温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝門门張劉陳楊黃趙吳孫馬鄭謝許韓馮鄧葉蘇魏呂盧鍾譚陸賈韋鄒邱閻龍賀顧龔萬錢嚴湯莊聶魯歐關蘭";
/// Family names of two characters.
const CHINESE_TWO: &[&str] =
    &["欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "司徒", "歐陽", "夏侯"];
/// What stands before a name in Chinese.
const CHINESE_LEAD: &[&str] = &[
    "联系",
    "聯繫",
    "联络",
    "我叫",
    "名叫",
    "叫做",
    "名字是",
    "姓名",
    "客户",
    "客戶",
    "用户",
    "患者",
    "病人",
    "员工",
    "同事",
    "经理",
    "老师",
    "医生",
    "通知",
    "告诉",
    "询问",
    "致电",
    "打给",
    "写给",
    "发给",
    "转给",
    "交给",
    "找",
    "给",
    "与",
    "和",
    "跟",
    "由",
    "是",
    "请",
    "请问",
    "尊敬的",
    "亲爱的",
    "收件人",
    "寄件人",
    "联系人",
    "聯絡",
];
/// What follows a name in Chinese.
const CHINESE_AFTER: &[&str] = &[
    "先生", "女士", "小姐", "老师", "经理", "医生", "同学", "教授", "总", "的", "说", "在", "是", "和", "与",
    "于", "已", "将", "要", "想", "请", "电话", "手机", "邮箱", "住", "来", "去", "申请", "表示", "同志",
    "您好", "你好", "于", "提交", "购买",
];
/// Family names that are common in Japanese.
const JAPANESE: &[&str] = &[
    "佐藤",
    "鈴木",
    "高橋",
    "田中",
    "渡辺",
    "渡邊",
    "渡部",
    "伊藤",
    "山本",
    "中村",
    "小林",
    "加藤",
    "吉田",
    "山田",
    "佐々木",
    "山口",
    "松本",
    "井上",
    "木村",
    "斎藤",
    "斉藤",
    "齋藤",
    "清水",
    "山崎",
    "森",
    "阿部",
    "池田",
    "橋本",
    "山下",
    "石川",
    "中島",
    "前田",
    "藤田",
    "小川",
    "後藤",
    "岡田",
    "長谷川",
    "村上",
    "近藤",
    "石井",
    "坂本",
    "遠藤",
    "青木",
    "藤井",
    "西村",
    "福田",
    "太田",
    "三浦",
    "藤原",
    "岡本",
    "松田",
    "中川",
    "中野",
    "原田",
    "小野",
    "田村",
    "竹内",
    "金子",
    "和田",
    "中山",
    "石田",
    "上田",
    "森田",
    "原",
    "柴田",
    "酒井",
    "工藤",
    "横山",
    "宮崎",
    "宮本",
    "内田",
    "高木",
    "安藤",
    "谷口",
    "大野",
    "丸山",
    "今井",
    "高田",
    "藤本",
    "武田",
    "村田",
    "上野",
    "杉山",
    "増田",
    "菅原",
    "平野",
    "小島",
    "大塚",
    "千葉",
    "久保",
    "松井",
    "岩崎",
    "桜井",
    "木下",
    "野口",
    "松尾",
    "野村",
    "菊地",
    "菊池",
    "佐野",
    "大西",
    "杉本",
    "新井",
    "浜田",
    "市川",
    "古川",
    "水野",
    "小松",
    "島田",
    "小山",
    "吉川",
    "山内",
    "西田",
    "西川",
    "北村",
    "五十嵐",
    "安田",
    "中田",
    "川口",
    "平田",
    "川崎",
    "飯田",
    "本田",
    "久保田",
    "沢田",
    "辻",
    "関",
    "吉村",
    "中西",
    "服部",
    "岩田",
    "樋口",
    "福島",
    "川上",
    "永井",
    "松岡",
    "田口",
    "山中",
    "森本",
    "土屋",
    "矢野",
    "秋山",
    "石原",
    "松下",
    "大橋",
    "馬場",
    "松浦",
    "吉岡",
    "荒木",
    "小池",
    "浅野",
    "大久保",
    "熊谷",
    "野田",
    "川村",
    "田辺",
    "星野",
    "大谷",
    "黒田",
    "堀",
    "尾崎",
    "望月",
    "菅野",
    "西山",
    "東",
    "白石",
    "岡崎",
    "内藤",
    "横田",
    "大石",
    "小西",
    "高野",
    "若松",
    "桐山",
    "笹田",
    "江古田",
    "青田",
    "廣川",
    "吉本",
    "津田",
    "宇野",
    "喜嶋",
    "山岸",
    "大垣",
    "村山",
    "加納",
    "井高",
    "中津川",
    "西之園",
    "野々村",
    "石塚",
    "三宅",
    "浜崎",
    "長野",
    "早川",
    "本間",
    "河野",
    "小田",
    "片山",
];
const JAPANESE_AFTER: &[&str] =
    &["さん", "様", "さま", "氏", "くん", "君", "ちゃん", "先生", "殿", "部長", "課長", "社長"];
/// Family names that are common in Korean.
const KOREAN: &str = "김이박최정강조윤장임한오서신권황안송류유홍전고문양손배백허남심노하곽성차주우구민진지엄채원천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모탁국어은편용";
const KOREAN_AFTER: &[&str] = &["님", "씨", "에게", "과장", "대리", "부장", "선생", "고객", "께서", "께"];
/// Given names that are common in Russian, without their last vowel.
const RUSSIAN: &[&str] = &[
    "Александр",
    "Алексе",
    "Анатоли",
    "Андре",
    "Антон",
    "Аркади",
    "Артем",
    "Артём",
    "Борис",
    "Вадим",
    "Валенти",
    "Валери",
    "Васили",
    "Виктор",
    "Витали",
    "Владимир",
    "Владислав",
    "Вячеслав",
    "Геннади",
    "Георги",
    "Глеб",
    "Григори",
    "Даниил",
    "Денис",
    "Дмитри",
    "Евгени",
    "Егор",
    "Иван",
    "Игор",
    "Иль",
    "Кирилл",
    "Константин",
    "Леонид",
    "Максим",
    "Михаил",
    "Никит",
    "Никола",
    "Олег",
    "Павел",
    "Павл",
    "Петр",
    "Пётр",
    "Роман",
    "Руслан",
    "Семен",
    "Семён",
    "Серге",
    "Станислав",
    "Степан",
    "Тимофе",
    "Тимур",
    "Федор",
    "Фёдор",
    "Юри",
    "Яков",
    "Ярослав",
    "Александр",
    "Алин",
    "Алл",
    "Анастаси",
    "Анн",
    "Антонин",
    "Валентин",
    "Вер",
    "Вероник",
    "Виктори",
    "Галин",
    "Дарь",
    "Евдоки",
    "Екатерин",
    "Елен",
    "Елизавет",
    "Жанн",
    "Зинаид",
    "Зо",
    "Инн",
    "Ирин",
    "Кир",
    "Клавди",
    "Ксени",
    "Ларис",
    "Лиди",
    "Любов",
    "Людмил",
    "Май",
    "Маргарит",
    "Марин",
    "Мари",
    "Надежд",
    "Натали",
    "Нин",
    "Оксан",
    "Ольг",
    "Полин",
    "Раис",
    "Регин",
    "Светлан",
    "Софи",
    "Тамар",
    "Татьян",
    "Ульян",
    "Эвелин",
    "Юли",
    "Ян",
    "Тарас",
    "Остап",
    "Богдан",
    "Микола",
    "Олександр",
    "Сергі",
    "Андрі",
    "Оксан",
    "Олен",
    "Ірин",
];

/// Claims the names.
pub(super) fn find(view: &View<'_>, claims: &mut Claims) {
    let text = view.text;
    cyrillic(text, claims);
    let mut past = 0;
    for (at, c) in text.char_indices() {
        if at < past {
            continue;
        }
        let code = u32::from(c);
        let found = if (0x4e00..=0x9fff).contains(&code) {
            japanese(text, at).or_else(|| chinese(text, at, c))
        } else if (0xac00..=0xd7a3).contains(&code) {
            korean(text, at, c)
        } else {
            None
        };
        if let Some((end, score)) = found {
            claims.push(at, end, Kind::Person, score);
            past = end;
        }
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '々')
}

fn is_kana(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{30fa}' | 'ー')
}

/// A family name of the list, perhaps a space, up to four characters, and an honorific or the end of the run.
fn japanese(text: &str, at: usize) -> Option<(usize, f32)> {
    if text.get(..at)?.chars().next_back().is_some_and(is_han) {
        return None;
    }
    let rest = text.get(at..)?;
    let family = JAPANESE.iter().filter(|name| rest.starts_with(**name)).max_by_key(|name| name.len())?;
    let after = rest.get(family.len()..)?;
    if JAPANESE_AFTER.iter().any(|word| after.starts_with(word)) {
        return Some((at + family.len(), 0.8));
    }
    let spaced = after.trim_start_matches(' ');
    let gap = after.len() - spaced.len();
    if gap > 1 {
        return None;
    }
    let mut length = 0;
    for (n, c) in spaced.char_indices().take(5) {
        let tail = spaced.get(n..)?;
        if n > 0 && JAPANESE_AFTER.iter().any(|word| tail.starts_with(word)) {
            return Some((at + family.len() + gap + n, 0.95));
        }
        if !(is_han(c) || is_kana(c)) {
            break;
        }
        length = n + c.len_utf8();
        if gap == 1
            && is_kana(c)
            && n > 0
            && matches!(c, 'に' | 'は' | 'が' | 'を' | 'の' | 'と' | 'へ' | 'で' | 'も')
            && n >= 6
        {
            length = n;
            break;
        }
    }
    (gap == 1 && length >= 3).then_some((at + family.len() + gap + length, 0.7))
}

/// A family name and one or two characters, led to or followed by a word that goes with names.
fn chinese(text: &str, at: usize, c: char) -> Option<(usize, f32)> {
    let rest = text.get(at..)?;
    let family = CHINESE_TWO
        .iter()
        .find(|name| rest.starts_with(**name))
        .map(|name| name.len())
        .or_else(|| CHINESE.contains(c).then_some(c.len_utf8()))?;
    let before = text.get(..at)?;
    let open = !before.chars().next_back().is_some_and(|c| is_han(c) || is_kana(c));
    let led = CHINESE_LEAD.iter().any(|word| before.ends_with(word));
    if !open && !led {
        return None;
    }
    let given = rest.get(family..)?;
    let mut best = None;
    let mut end = 0;
    for (n, c) in given.chars().take(2).enumerate() {
        if !is_han(c) {
            break;
        }
        end += c.len_utf8();
        let tail = given.get(end..)?;
        let closed = !tail.chars().next().is_some_and(|c| is_han(c) || is_kana(c));
        let followed = CHINESE_AFTER.iter().any(|word| tail.starts_with(word));
        let score = match (led, closed, followed) {
            (true, true, _) => 0.9,
            (true, _, true) => 0.8,
            (_, _, true) if CHINESE_AFTER.iter().take(9).any(|word| tail.starts_with(word)) => 0.75,
            (false, true, _) if n == 1 => 0.55,
            _ => continue,
        };
        if best.is_none_or(|(_, other)| score >= other) {
            best = Some((at + family + end, score));
        }
    }
    best
}

/// A family name of one syllable and two more, at the start of a word, followed by a word that goes with names.
fn korean(text: &str, at: usize, c: char) -> Option<(usize, f32)> {
    let syllable = |c: char| matches!(c, '\u{ac00}'..='\u{d7a3}');
    if !KOREAN.contains(c) || text.get(..at)?.chars().next_back().is_some_and(syllable) {
        return None;
    }
    let rest = text.get(at..)?;
    let name: usize = rest.chars().take(3).take_while(|&c| syllable(c)).map(char::len_utf8).sum();
    let tail = rest.get(name..)?;
    let after = tail.trim_start_matches(' ');
    (name == 9 && KOREAN_AFTER.iter().any(|word| after.starts_with(word))).then_some((at + name, 0.8))
}

/// Runs of capitalised Cyrillic words that hold a patronymic, a given name, or two family endings.
fn cyrillic(text: &str, claims: &mut Claims) {
    let is_word = |c: char| matches!(c, '\u{400}'..='\u{4ff}' | '-');
    let mut run: Vec<(usize, usize)> = Vec::new();
    let mut last_end = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(offset) = rest.find(|c: char| matches!(c, '\u{400}'..='\u{4ff}')) else { break };
        let start = at + offset;
        let length = text.get(start..).map_or(0, |rest| rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        let mut end = start + length.max(2);
        let word = text.get(start..end).unwrap_or("");
        let capital = word.chars().next().is_some_and(char::is_uppercase);
        if capital && word.chars().count() == 1 && text.get(end..).is_some_and(|rest| rest.starts_with('.')) {
            end += 1;
        }
        let gap = text.get(last_end..start).unwrap_or("");
        if !run.is_empty() && (!capital || !matches!(gap, " " | "\n" | "") || run.len() >= 4) {
            judge(text, &run, claims);
            run.clear();
        }
        if capital {
            run.push((start, end));
        }
        last_end = end;
        at = end;
    }
    judge(text, &run, claims);
}

fn judge(text: &str, run: &[(usize, usize)], claims: &mut Claims) {
    let word = |n: usize| run.get(n).and_then(|&(start, end)| text.get(start..end)).unwrap_or("");
    let mut folded = Vec::new();
    for n in 0..run.len() {
        let mut chars = word(n).chars();
        let mut plain = String::new();
        plain.extend(chars.next());
        plain.extend(chars.flat_map(char::to_lowercase));
        folded.push((is_given(&plain), is_patronymic(&plain), is_family(&plain), plain.ends_with('.')));
    }
    let names = |n: usize| {
        folded
            .get(n)
            .is_some_and(|&(given, patronymic, family, initial)| given || patronymic || family || initial)
    };
    let Some(first) = (0..run.len()).find(|&n| names(n)) else { return };
    let Some(last) = (0..run.len()).rev().find(|&n| names(n)) else { return };
    // What stands beside a patronymic is a name, also when no list knows it.
    let patronymic = folded.iter().position(|w| w.1);
    let first = patronymic.map_or(first, |at| first.min(at.saturating_sub(1)));
    let last = patronymic
        .map_or(last, |at| last.max(if at == first + 1 { (at + 1).min(run.len() - 1) } else { at }));
    let inside = folded.get(first..=last).unwrap_or_default();
    let patronymic = inside.iter().any(|w| w.1);
    let given = inside.iter().any(|w| w.0);
    let family = inside.iter().any(|w| w.2);
    let score = match (inside.len(), given, patronymic, family) {
        (2.., _, true, _) => 0.95,
        (2.., true, _, true) => 0.9,
        (2.., _, _, true) if inside.iter().any(|w| w.3) => 0.8,
        (1, true, ..) => 0.55,
        _ => return,
    };
    if let (Some(&(start, _)), Some(&(_, end))) = (run.get(first), run.get(last)) {
        claims.push(start, end, Kind::Person, score);
    }
}

fn is_given(word: &str) -> bool {
    RUSSIAN.iter().any(|stem| {
        word.strip_prefix(stem).is_some_and(|end| {
            matches!(
                end,
                "" | "а"
                    | "я"
                    | "й"
                    | "ь"
                    | "у"
                    | "ю"
                    | "ом"
                    | "ем"
                    | "е"
                    | "и"
                    | "ы"
                    | "ой"
                    | "ей"
                    | "ию"
                    | "ия"
                    | "ие"
                    | "ии"
                    | "ью"
                    | "н"
                    | "ну"
                    | "на"
                    | "ном"
                    | "ём"
            )
        })
    })
}

fn is_patronymic(word: &str) -> bool {
    const ENDS: &[&str] = &[
        "ович",
        "евич",
        "ьич",
        "овича",
        "евича",
        "ьича",
        "овичу",
        "евичу",
        "овичем",
        "евичем",
        "ьичем",
        "овна",
        "евна",
        "ична",
        "овны",
        "евны",
        "овне",
        "евне",
        "овной",
        "евной",
        "овну",
        "евну",
        "ичной",
        "івна",
        "йович",
    ];
    word.len() > 12 && ENDS.iter().any(|end| word.ends_with(end))
}

fn is_family(word: &str) -> bool {
    const ENDS: &[&str] = &[
        "ов",
        "ев",
        "ёв",
        "ин",
        "ын",
        "ова",
        "ева",
        "ёва",
        "ина",
        "ына",
        "ский",
        "ская",
        "цкий",
        "цкая",
        "енко",
        "чук",
        "юк",
        "ук",
        "ян",
        "дзе",
        "швили",
        "овой",
        "евой",
        "иной",
        "ову",
        "еву",
        "овым",
        "евым",
        "иным",
        "ской",
        "ского",
        "скому",
        "ским",
        "ых",
        "ко",
    ];
    word.len() > 8 && ENDS.iter().any(|end| word.ends_with(end))
}
