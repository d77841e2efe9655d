//! Chance that is the same on every machine and in every version: a generator of a fixed algorithm, and choices that
//! depend on nothing else.

use rand_pcg::{Pcg64Mcg, rand_core::Rng as _};

/// A row of choices that its seed decides.
#[derive(Debug, Clone)]
pub struct Dice(Pcg64Mcg);

impl Dice {
    /// The row that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::new(u128::from(seed)))
    }

    /// A number below `limit`; 0 when `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let wide = u128::from(self.0.next_u64()) * (limit as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Whether something of probability `share` (0 to 1) happens.
    pub fn chance(&mut self, share: f64) -> bool {
        const WHOLE: u32 = 1 << 30;
        let at = u32::try_from(self.below(WHOLE as usize)).unwrap_or(0);
        f64::from(at) < share * f64::from(WHOLE)
    }

    /// One of `list`; `None` when there is none.
    pub fn pick<'a, T: ?Sized + ToOwned>(&mut self, list: &'a [&'a T]) -> Option<&'a T> {
        list.get(self.below(list.len())).copied()
    }

    /// Puts `list` into another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_row_for_ever() {
        let mut dice = Dice::new(7);
        let row: Vec<usize> = (0..6).map(|_| dice.below(100)).collect();
        assert_eq!(row, [47, 46, 85, 25, 96, 55]);
    }

    #[test]
    fn a_shuffled_list_keeps_its_members() {
        let mut list: Vec<u32> = (0..50).collect();
        Dice::new(1).shuffle(&mut list);
        assert_ne!(list, (0..50).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..50).collect::<Vec<_>>());
    }
}
