//! Sets of numbers as ranges.

use std::collections::BTreeMap;

use crate::gap::Span;

/// Disjoint ranges by their first numbers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range that touches none that is there.
    pub(crate) fn insert(&mut self, span: Span) {
        if span.from <= span.to {
            self.0.insert(span.from, span.to);
        }
    }

    /// Takes the numbers of `span` out, as far as they are there.
    pub(crate) fn remove(&mut self, span: Span) {
        let Span { from, to } = span;
        if from > to {
            return;
        }
        let touched: Vec<(u64, u64)> = self
            .0
            .range(..=to)
            .rev()
            .take_while(|(_, last)| **last >= from)
            .map(|(first, last)| (*first, *last))
            .collect();
        for (first, last) in touched {
            self.0.remove(&first);
            if first < from {
                self.0.insert(first, from - 1);
            }
            if last > to {
                self.0.insert(to + 1, last);
            }
        }
    }

    /// The range that `number` is in.
    pub(crate) fn around(&self, number: u64) -> Option<Span> {
        let (from, to) = self.0.range(..=number).next_back()?;
        (*to >= number).then_some(Span { from: *from, to: *to })
    }

    /// The lowest range.
    pub(crate) fn first(&self) -> Option<Span> {
        self.0.first_key_value().map(|(from, to)| Span { from: *from, to: *to })
    }

    /// The ranges in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Span> {
        self.0.iter().map(|(from, to)| Span { from: *from, to: *to })
    }

    /// How many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the lowest ranges out, so many.
    pub(crate) fn forget(&mut self, ranges: usize) {
        (0..ranges).for_each(|_| {
            self.0.pop_first();
        });
    }
}
