//! Names in scripts that set no spaces or have no capitals: Han, Kana, Hangul.
//!
//! Nothing but a family name and the words around marks a name there, so a claim needs both, or a field of its own.

use std::{collections::BTreeMap, sync::LazyLock};

use crate::detect::pii::{
    found::{Claims, Found, Kind},
    view::View,
};

/// Chinese family names of one character.
const CHINESE: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏\
    韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包\
    宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳欧管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏\
    席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝張劉陳楊黃趙吳孫馬許鄭謝韓馮鄧蔣葉蘇呂盧鍾譚陸傅原芮羿储汲邴糜松井富乌巴弓牧隗山谷车宓蓬郗班秋仰仲伊宁暴甘钭厉祖刘束幸韶郜蓟薄印宿怀蒲邰从鄂索咸籍赖卓蔺屠池阴郁胥能苍双闻莘党翟贡劳逄姬申扶堵冉宰郦雍却璩桑濮寿通燕冀郏浦尚别柴阎慕连茹习宦艾鱼容古易慎戈庾终暨居衡步都耿满弘匡国文寇广禄阙东殴殳沃利蔚越夔隆师厍聂晁勾融訾阚那饶空毋沙乜养鞠须丰巢相后荆红游竺权逯盖益桓公";

/// Chinese family names of two characters.
const CHINESE_DOUBLE: [&str; 10] =
    ["欧阳", "上官", "司马", "诸葛", "司徒", "东方", "皇甫", "尉迟", "公孙", "令狐"];

/// Characters of Chinese given names.
const CHINESE_GIVEN: &str = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂芝玉梅红华建国文辉力健俊帆雪荣爱妹香月莺媛瑞凡佳嘉琼勤珍贞莉娣叶璧璐娅琦晶妍茜秋\
    珊莎锦黛青倩婷姣婉娴瑾颖露瑶怡婵雁蓓纨仪荷丹蓉眉君琴蕊薇菁梦岚苑婕馨瑗琰韵融园艺咏卿聪澜纯毓悦昭冰爽琬茗羽希宁欣飘育滢馥筠柔竹霭凝晓欢霄枫芸菲\
    寒伊亚宜可姬舒影荔枝思巧小春夏冬东南西北中天山林森海江河湖波浩宇轩泽晨博远航子涵雨诗一二三四五六七八九十志诚信义仁忠孝良善德福寿禄康宁安全保胜利成功\
    学习书画琴棋武斌彬鹏飞龙虎凤鸣鹤云雷电光亮晴朗日星辰旭阳辰坤乾震宏大伟长永恒久世代代祥吉庆喜乐欢畅顺达通利亨元立新兴旺发财富贵金银铜铁钢石玲琳珠宝\
    璇璟琪瑜琳玮珂珺瑛瑄玥家豪杰雄英俊才能贤哲睿智慧颜正直清廉洁淑惠慈凯旋帅将军兵战胜耀祖宗继承业广树根生茂盛芬芹芷若莲藕菊松柏桐楠柳桃李杏梨维纪纲\
    常经纬纶绪统素丝绮绫罗锡钧钊鑫铭锋锐镇铎铮民政道理法律权衡士卫守护尚宾友朋振翔翰翼奇异超越彦捷峰岩峻岭川洲溪淼润泉源沛沐沁洁洪流浪涌潮岳嵩巍崇高升\
    上进连斯其之以为然也亦如意心怀念忆恩佑启迪";

/// Words before a Chinese name.
const CHINESE_BEFORE: [&str; 40] = [
    "联系",
    "请",
    "叫",
    "是",
    "给",
    "和",
    "与",
    "由",
    "找",
    "通知",
    "告诉",
    "姓名",
    "名叫",
    "客户",
    "患者",
    "病人",
    "用户",
    "员工",
    "同事",
    "经理",
    "老师",
    "同学",
    "朋友",
    "亲爱的",
    "尊敬的",
    "向",
    "对",
    "跟",
    "被",
    "让",
    "问",
    "谢谢",
    "发给",
    "写信给",
    "属于",
    "签发给",
    "先生",
    "女士",
    "聯絡",
    "聯繫",
];

/// Words behind a Chinese name.
const CHINESE_AFTER: [&str; 24] = [
    "先生", "女士", "小姐", "老师", "老師", "经理", "經理", "教授", "医生", "醫生", "主任", "同学", "总",
    "的", "说", "說", "在", "住", "将", "已", "于", "想", "和", "电话",
];

/// Japanese family names in their usual spelling.
const JAPANESE: &str = "佐藤 鈴木 高橋 田中 伊藤 渡辺 渡邊 渡部 山本 中村 小林 加藤 吉田 山田 佐々木 山口 松本 井上 木村 林 斎藤 斉藤 齋藤 清水 山崎 森 池田 橋本 阿部 \
    石川 山下 中島 石井 小川 前田 岡田 長谷川 藤田 後藤 近藤 村上 遠藤 青木 坂本 福田 太田 西村 藤井 金子 岡本 藤原 中野 三浦 原田 松田 竹内 中川 小野 田村 中山 和田 \
    石田 森田 上田 原 内田 柴田 酒井 宮崎 横山 高木 安藤 宮本 大野 小島 工藤 谷口 今井 高田 増田 丸山 杉山 村田 大塚 新井 小山 平野 藤本 河野 上野 野口 武田 松井 千葉 \
    菅原 岩崎 久保 木下 佐野 野村 松尾 市川 菊地 菊池 杉本 古川 大西 島田 水野 桜井 櫻井 高野 渡部 吉川 山内 西田 飯田 西川 小松 北村 安田 五十嵐 川口 平田 関 中田 久保田 \
    服部 東 岩田 土屋 川崎 福島 本田 辻 樋口 秋山 田口 永井 山中 中西 吉村 川上 大島 石原 馬場 浅野 松岡 荒木 大久保 熊谷 野田 小池 田辺 田邊 川村 星野 大谷 黒田 堀 尾崎 \
    望月 永田 内藤 松村 西山 大橋 平井 大石 荒井 早川 関口 矢野 片山 岡 須藤 浜田 本間 小沢 小澤 横田 白石 宮田 児玉 沢田 鎌田 岸 三宅 桑原 若林";

/// What is said behind a Japanese name.
const JAPANESE_AFTER: [&str; 16] = [
    "さん",
    "様",
    "さま",
    "氏",
    "ちゃん",
    "くん",
    "君",
    "先生",
    "部長",
    "課長",
    "社長",
    "殿",
    "先輩",
    "医師",
    "教授",
    "選手",
];

/// Korean family names.
const KOREAN: &str =
    "김이박최정강조윤장임한오서신권황안송전홍유고문양손배백허남심노하곽성차주우구민류나진지엄채원천방공현";

/// What is said behind a Korean name.
const KOREAN_AFTER: [&str; 9] = ["씨", "님", "에게", "의", "과장", "부장", "대리", "사장", "선생"];

/// The lists above, by the character that is at hand.
struct Tables {
    /// Sorted.
    chinese: Vec<char>,
    /// Sorted.
    given: Vec<char>,
    /// Japanese family names by their first character, the longest first.
    japanese: BTreeMap<char, Vec<&'static str>>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let sorted = |text: &str| {
        let mut chars: Vec<char> = text.chars().filter(|&c| is_han(c)).collect();
        chars.sort_unstable();
        chars.dedup();
        chars
    };
    let mut japanese: BTreeMap<char, Vec<&'static str>> = BTreeMap::new();
    for name in JAPANESE.split_whitespace() {
        japanese.entry(name.chars().next().unwrap_or_default()).or_default().push(name);
    }
    japanese.values_mut().for_each(|names| names.sort_by_key(|name| std::cmp::Reverse(name.len())));
    Tables { chinese: sorted(CHINESE), given: sorted(CHINESE_GIVEN), japanese }
});

impl Tables {
    fn is_chinese_family(&self, c: char) -> bool {
        self.chinese.binary_search(&c).is_ok()
    }

    fn is_chinese_given(&self, c: char) -> bool {
        self.given.binary_search(&c).is_ok()
    }

    /// The longest Japanese family name that `rest` begins with.
    fn japanese_family(&self, rest: &str) -> Option<&'static str> {
        let names = self.japanese.get(&rest.chars().next()?)?;
        names.iter().copied().find(|name| rest.starts_with(name))
    }
}

/// Claims names in Han, Kana and Hangul.
pub(super) fn find(view: &View<'_>, others: &[Found], named: bool, claims: &mut Claims) {
    let text = view.text;
    let mut done = 0;
    for (at, c) in text.char_indices() {
        if at < done || !(is_han(c) || is_kana(c) || is_hangul(c)) {
            continue;
        }
        let beside = others.iter().take(64).any(|claim| {
            claim.start < at + 120 && claim.end + 120 > at && matches!(claim.kind, Kind::Phone | Kind::Email)
        });
        let field = begins_field(view, at);
        let found = japanese(view, at, named)
            .or_else(|| chinese(view, at, named || (field && beside)))
            .or_else(|| korean(view, at, named || (field && beside)));
        if let Some((end, score)) = found {
            claims.push(at, end, Kind::Person, score);
            done = end;
        }
    }
}

fn is_han(c: char) -> bool {
    matches!(u32::from(c), 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x3005)
}

fn is_kana(c: char) -> bool {
    matches!(u32::from(c), 0x3041..=0x309f | 0x30a1..=0x30ff)
}

fn is_hangul(c: char) -> bool {
    matches!(u32::from(c), 0xac00..=0xd7a3)
}

/// Whether a field of a table, a quotation or a line begins at `at`.
fn begins_field(view: &View<'_>, at: usize) -> bool {
    let before = view.text.get(..at).unwrap_or("").trim_end_matches(' ').chars().next_back();
    before.is_none_or(|c| {
        matches!(c, ',' | '|' | '"' | '\'' | '\n' | '\t' | ':' | '=' | '，' | '：' | '、' | '「' | '>')
    })
}

/// A family name, maybe a space, a given name, and an honorific behind; or the space alone.
fn japanese(view: &View<'_>, at: usize, named: bool) -> Option<(usize, f32)> {
    let rest = view.text.get(at..)?;
    // A name begins where a word does: not inside a run of Han, unless an address or particle ends there.
    if view.char_before(at).is_some_and(is_han) {
        return None;
    }
    let family = TABLES.japanese_family(rest);
    let head: usize = rest.chars().take_while(|&c| is_han(c) || is_kana(c)).take(4).map(char::len_utf8).sum();
    let honorific = |from: usize| {
        rest.get(from..).is_some_and(|rest| JAPANESE_AFTER.iter().any(|word| rest.starts_with(word)))
    };
    if let Some(family) = family {
        let spaced = rest.get(family.len()..).is_some_and(|rest| rest.starts_with(' '));
        let from = family.len() + usize::from(spaced);
        let mut end = from;
        let mut taken = 0;
        for c in rest.get(from..)?.chars().take(4) {
            if taken > 0 && honorific(end) || !(is_han(c) || (taken > 0 || spaced) && is_kana(c)) {
                break;
            }
            end += c.len_utf8();
            taken += 1;
        }
        if honorific(family.len()) {
            return Some((at + family.len(), 0.85));
        }
        if taken > 0 && honorific(end) {
            return Some((at + end, 0.95));
        }
        let bounded = rest.get(end..).and_then(|rest| rest.chars().next()).is_none_or(|c| !is_han(c));
        let given: String = rest.get(from..end)?.chars().take_while(|&c| is_han(c)).collect();
        if spaced && !given.is_empty() && bounded {
            return Some((at + from + given.len(), 0.75));
        }
        if named && taken > 0 && bounded {
            return Some((at + end, 0.8));
        }
    }
    // An unknown family name: two words, or one, right before an honorific that is said to people only.
    let polite = |from: usize| {
        rest.get(from..)
            .is_some_and(|rest| ["さん", "様", "さま", "氏", "殿"].iter().any(|word| rest.starts_with(word)))
    };
    let mut end = 0;
    for c in rest.chars().take(4) {
        if end > 0 && polite(end) || !is_han(c) {
            break;
        }
        end += c.len_utf8();
    }
    if end >= 6 && rest.get(end..).is_some_and(|rest| rest.starts_with(' ')) {
        let mut second = end + 1;
        for c in rest.get(second..)?.chars().take(4) {
            if second > end + 1 && polite(second) || !(is_han(c) || is_kana(c)) {
                break;
            }
            second += c.len_utf8();
        }
        if second > end + 1 && polite(second) {
            return Some((at + second, 0.85));
        }
    }
    (end >= 6
        && head > 0
        && polite(end)
        && !["皆", "お客", "神", "奥", "王", "仏", "お父", "お母"].iter().any(|word| rest.starts_with(word)))
    .then_some((at + end, 0.7))
}

fn chinese(view: &View<'_>, at: usize, named: bool) -> Option<(usize, f32)> {
    let rest = view.text.get(at..)?;
    let first = rest.chars().next()?;
    let family = match CHINESE_DOUBLE.iter().find(|name| rest.starts_with(**name)) {
        Some(name) => name.len(),
        None if TABLES.is_chinese_family(first) => first.len_utf8(),
        None => return None,
    };
    let before = view.text.get(..at)?;
    let introduced = CHINESE_BEFORE.iter().any(|word| before.ends_with(word)) || named;
    let mut best = None;
    for length in [2, 1] {
        let given: String = rest.get(family..)?.chars().take(length).take_while(|&c| is_han(c)).collect();
        if given.chars().count() != length || !given.chars().all(|c| TABLES.is_chinese_given(c)) {
            continue;
        }
        let end = family + given.len();
        let tail = rest.get(end..)?;
        let addressed = CHINESE_AFTER.iter().any(|word| tail.starts_with(word));
        let ends = tail.chars().next().is_none_or(|c| !is_han(c) && !is_kana(c));
        let score = match (introduced, addressed, ends) {
            (true, _, true) => 0.92,
            (true, true, _) => 0.9,
            (_, true, _)
                if ["先生", "女士", "小姐", "老师", "老師", "经理", "教授", "医生", "總", "同学"]
                    .iter()
                    .any(|word| tail.starts_with(word)) =>
            {
                0.85
            }
            _ => continue,
        };
        if best.is_none() {
            best = Some((at + end, score));
        }
    }
    best.or_else(|| {
        // An unusual given name, in a place where nothing but a name stands.
        let han: usize = rest.chars().take(6).take_while(|&c| is_han(c)).count();
        let end: usize = rest.chars().take(6).take_while(|&c| is_han(c)).map(char::len_utf8).sum();
        let count = han.checked_sub(rest.get(..family)?.chars().count())?;
        (introduced && (1..=2).contains(&count)).then_some((at + end, 0.7))
    })
}

fn korean(view: &View<'_>, at: usize, named: bool) -> Option<(usize, f32)> {
    let rest = view.text.get(at..)?;
    let mut chars = rest.chars();
    let first = chars.next()?;
    if !KOREAN.contains(first) || view.char_before(at).is_some_and(is_hangul) {
        return None;
    }
    let given: usize = chars.take(2).take_while(|&c| is_hangul(c)).map(char::len_utf8).sum();
    let end = first.len_utf8() + given;
    let tail = rest.get(end..)?.trim_start_matches(' ');
    let addressed = KOREAN_AFTER.iter().any(|word| tail.starts_with(word));
    let ends = rest.get(end..)?.chars().next().is_none_or(|c| !is_hangul(c));
    (given == 6 && (addressed || (named && ends))).then_some((at + end, if addressed { 0.85 } else { 0.8 }))
}
