//! temp
use crate::{
    detect::{Detector, Hit, Problem, Rule, Scratch, Text},
    verdict::PolicyKind,
};
/// temp
#[derive(Debug)]
pub struct InjectionDetector;
impl InjectionDetector {
    /// temp
    pub fn compile(_: &crate::pack::PromptInjection) -> (Option<Self>, Vec<Problem>) {
        (Some(Self), Vec::new())
    }
}
impl Detector for InjectionDetector {
    fn kind(&self) -> PolicyKind {
        PolicyKind::PromptInjection
    }
    fn rules(&self) -> &[Rule] {
        &[]
    }
    fn scan(&self, _: Text<'_>, _: &mut Scratch, _: &mut Vec<Hit>) -> Option<f32> {
        None
    }
    fn replace(&self, _: u32, _: &str, out: &mut String) {
        out.push('*');
    }
}
