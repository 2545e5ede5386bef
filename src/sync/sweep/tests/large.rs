//! Rows so large that no page holds them with one before.

use super::*;

/// Reads a list at rest whose rows at the positions in `large` fit no page with what is before them; `says` is the total and whether
/// there is more, of so many rows up to the page's end. Says how many rows were lost.
fn lost_behind_large(
    model: &mut Model,
    sweep: &mut Sweep,
    large: &[usize],
    says: impl Fn(usize) -> (Option<u64>, Option<bool>),
) -> usize {
    while let Some(request) = sweep.next() {
        model.requests += 1;
        assert!(model.requests < 300, "does not end");
        let skip = usize::try_from(request.offset).unwrap();
        let large = large.iter().find(|at| **at > skip).copied();
        let end = large.unwrap_or(usize::MAX).min(skip + 100).min(model.rows.len());
        let items: Vec<Item> = model.rows[skip.min(end)..end].iter().map(item).collect();
        let (total, has_more) = says(skip + items.len());
        let page = PageView {
            items: &items,
            version: &|at| version(&items[at]),
            total,
            has_more,
            is_early: false,
        };
        model.offer_page(sweep, &page);
    }
    model.lost(sweep).len()
}

#[test]
fn a_short_list_does_not_end_before_a_large_row() {
    for large in [&[1][..], &[2], &[20], &[30], &[48], &[49], &[3, 10], &[1, 2, 3]] {
        for (rows, known_page) in [(50, 60), (50, 0), (14, 60), (14, 0)] {
            let mut model = Model::new(7, ListOrder::CreatedAsc, rows, Churn::default());
            let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0)
                .knowing_of_pages(known_page)
                .doubting_offset()
                .sparing_requests();
            let lost = lost_behind_large(&mut model, &mut sweep, large, |_| (None, None));
            assert_eq!(lost, 0, "of {rows}, large ones: {large:?}, pages of {known_page}");
        }
    }
}

#[test]
fn rows_behind_large_ones_are_read_where_a_total_tells_of_them() {
    let two_dozen: Vec<usize> = (301..325).collect();
    for large in [&[301][..], &[300], &[95, 96, 190], &[999], &two_dozen] {
        for order in ORDERS {
            let mut model = Model::new(7, order, 1_000, Churn::default());
            let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
            let lost = lost_behind_large(&mut model, &mut sweep, large, |end| (Some(1_000), Some(end < 1_000)));
            assert_eq!(lost, 0, "{order:?}, {} large rows from {}", large.len(), large[0]);
        }
    }
}

/// What they say of when they were created may be by a clock that is ahead.
#[test]
fn rows_behind_a_large_one_that_seem_to_be_younger_than_the_sweep_do_not_end_a_list() {
    for rows in [300, 1_000] {
        let mut model = Model::new(7, ListOrder::CreatedAsc, rows, Churn::default());
        let large = usize::try_from(rows - 40).unwrap();
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.rows[large].created), 0);
        let lost = lost_behind_large(&mut model, &mut sweep, &[large], |_| (None, None));
        assert_eq!(lost, 0, "of {rows}");
    }
}

#[test]
fn a_short_page_is_not_all_of_a_list_whose_first_rows_went_before_it_was_looked_behind() {
    for purged_at in 2..6 {
        let mut model = Model::new(7, ListOrder::CreatedAsc, 10, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0)
            .knowing_of_pages(60)
            .sparing_requests();
        model.read(&mut sweep, 100, |model, request| {
            if model.requests + 1 == purged_at {
                for row in model.rows.drain(..4) {
                    model.throughout.remove(&row.id);
                }
            }
            let (mut items, _) = model.get(request);
            cut_before(&mut items, 6);
            (items, None)
        });
        model.assert_no_false_proof(&sweep, &format!("at request {purged_at}"));
    }
}

/// Below a page that is cut nobody knows what moved there.
#[test]
fn a_head_whose_page_is_cut_by_a_large_row_is_no_proof_of_what_moved_below() {
    for seed in 0..400 {
        let mut model = Model::new(seed, ListOrder::UpdatedDesc, 14, Churn::default());
        let large = seed % 14;
        let mut sweep = Sweep::new(Mode::Full, 15, time(model.now), 0);
        model.read(&mut sweep, 1_000, |model, request| {
            model.touch();
            if model.rng.random_range(0..3) == 0 {
                model.insert();
            }
            model.sort();
            let (mut items, _) = model.get(request);
            cut_before(&mut items, large);
            (items, None)
        });
        model.assert_no_false_proof(&sweep, &format!("seed {seed}"));
    }
}
