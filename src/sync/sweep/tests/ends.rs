//! What ends a list, and what does not.

use std::cell::RefCell;

use super::*;

#[test]
fn lists_of_every_small_size_end_under_every_clamp() {
    for order in ORDERS {
        for rows in [
            0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 19, 20, 21, 49, 50, 51, 99, 100, 101, 195, 200,
        ] {
            for clamp in [2, 5, 7, 10, 50, 100] {
                for totals in [false, true] {
                    let mut model = Model::new(rows, order, rows, Churn::default());
                    model.clamp = clamp;
                    model.totals = totals;
                    let sweep = model.run(Mode::Full);
                    let case = format!("{rows} rows, clamp {clamp}, {order:?}, totals {totals}");
                    assert_eq!(sweep.rows_seen(), rows, "{case}");
                    assert_eq!(sweep.proof(), Proof::Verified, "{case}");
                }
            }
        }
    }
}

/// A list that stands still.
#[derive(Clone, Copy)]
struct Listing {
    order: ListOrder,
    rows: u64,
    /// Whether the server says if there are more.
    has_more: bool,
    /// Rows asked for at a time.
    limit: u32,
}

const LISTING: Listing = Listing {
    order: ListOrder::CreatedAsc,
    rows: 3_000,
    has_more: false,
    limit: 100,
};

/// Reads a list whose pages are cut to what `cut` says for an offset, and show all rows but those at the positions that are
/// `hidden`; says how many of the shown were not seen, if the sweep says that it is a proof.
fn lost_in(listing: Listing, cut: impl Fn(u64) -> usize, hidden: impl Fn(u64) -> bool) -> Option<usize> {
    let mut model = Model::new(7, listing.order, listing.rows, Churn::default());
    let mut sweep = Sweep::new(Mode::Full, listing.limit, time(model.now), 0);
    while let Some(request) = sweep.next() {
        model.requests += 1;
        assert!(model.requests < 3_000, "does not end");
        let skip = usize::try_from(request.offset).unwrap();
        let size = cut(request.offset);
        let slice = model.rows.iter().zip(0..).skip(skip).take(size);
        let more = skip + size < model.rows.len();
        let items: Vec<Item> = slice.filter(|(_, at)| !hidden(*at)).map(|(row, _)| item(row)).collect();
        let page = PageView {
            items: &items,
            version: &|at| version(&items[at]),
            total: None,
            has_more: listing.has_more.then_some(more),
            is_early: false,
        };
        if sweep.offer(&page) == Verdict::Anchored {
            let marks = model.store(&items);
            sweep.absorb(&page, &marks);
        }
    }
    let seen = |id: u64| {
        let entry = model.mirror.get(&id);
        entry.is_some_and(|(num, ..)| sweep.seen().contains(*num))
    };
    let shown = model.rows.iter().zip(0..).filter(|(_, at)| !hidden(*at));
    let lost = shown.filter(|(row, _)| !seen(row.id)).count();
    (sweep.proof() == Proof::Verified).then_some(lost)
}

#[test]
fn pages_that_become_shorter_in_mid_list_do_not_end_it() {
    for has_more in [false, true] {
        for order in ORDERS {
            let listing = Listing {
                order,
                has_more,
                ..LISTING
            };
            let lost = lost_in(listing, |offset| if offset < 300 { 100 } else { 40 }, |_| false);
            assert_eq!(lost, Some(0), "{order:?}");
            // Of the older rows less than half is shown.
            let lost = lost_in(listing, |_| 100, |at| at % 10 > 3 && at % 800 > 300);
            assert!(lost.is_none_or(|lost| lost == 0), "{order:?}: {lost:?}");
            // More than a page of them is not shown: nothing but the server's word can tell.
            if has_more {
                let lost = lost_in(listing, |_| 100, |at| (500..900).contains(&at));
                assert!(lost.is_none_or(|lost| lost == 0), "{order:?}: {lost:?}");
            }
        }
    }
}

/// However short: also where a page overlaps the one before.
#[test]
fn pages_cut_anywhere_do_not_end_a_list() {
    for has_more in [false, true] {
        for order in ORDERS {
            for (rows, size) in [(60, 20), (30, 10), (130, 50), (103, 100)] {
                let listing = Listing {
                    order,
                    rows,
                    has_more,
                    limit: size,
                };
                let once = |offset| if offset == 95 { 5 } else { size as usize };
                let lost = lost_in(listing, once, |_| false);
                assert!(lost.is_none_or(|lost| lost == 0), "{order:?}: {lost:?} of {rows}");
                for seed in 0..40 {
                    let rng = RefCell::new(StdRng::seed_from_u64(seed));
                    let cut = |_| rng.borrow_mut().random_range(1..=size as usize);
                    let lost = lost_in(listing, cut, |_| false);
                    assert!(
                        lost.is_none_or(|lost| lost == 0),
                        "{order:?}, {seed}: {lost:?} of {rows}"
                    );
                }
            }
        }
    }
}

#[test]
fn pages_that_become_shorter_near_the_end_do_not_end_it() {
    for has_more in [false, true] {
        for order in ORDERS {
            for (size, short) in [(1_000, 45), (100, 40), (100, 11), (100, 3)] {
                for left in [1, 2, 5, 7, 10, 20].map(|pages| pages * short) {
                    let cut = |offset| if offset + left < 3_000 { size } else { short };
                    let lost = lost_in(
                        Listing {
                            order,
                            has_more,
                            limit: 1_000,
                            ..LISTING
                        },
                        |at| usize::try_from(cut(at)).unwrap(),
                        |_| false,
                    );
                    assert_eq!(
                        lost,
                        Some(0),
                        "{order:?}, pages of {size}, then of {short}, {left} rows before the end"
                    );
                }
            }
        }
    }
}

#[test]
fn the_last_rows_behind_a_page_that_is_not_shown_are_found_or_the_run_is_no_proof() {
    for order in ORDERS {
        for hidden in [20, 90, 100, 110] {
            for behind in [1, 30, 90] {
                for from in 0..20 {
                    let from = 1_400 + 5 * from;
                    let listing = Listing {
                        order,
                        rows: from + hidden + behind,
                        ..LISTING
                    };
                    let lost = lost_in(listing, |_| 100, |at| (from..from + hidden).contains(&at));
                    assert!(
                        lost.is_none_or(|lost| lost == 0),
                        "{order:?}: {lost:?} of {behind} behind {hidden} from {from}"
                    );
                }
            }
        }
    }
}

/// How a list is made: so many rows that are shown (`r`), take a place and are not shown (`h`), or have no id (`n`; the very same:
/// `t`), as in `10r,3h,1n`. At rest, and the server says rightly whether there are more, if it says so.
fn read_of(made: &str, limit: u32, has_more: bool, total: bool) -> (Sweep, u64) {
    read_up_to(u64::MAX, made, limit, has_more, total)
}

/// The same of a server that refuses offsets from `refused` on.
fn read_up_to(refused: u64, made: &str, limit: u32, has_more: bool, total: bool) -> (Sweep, u64) {
    let mut kinds: Vec<char> = Vec::new();
    for part in made.split(',') {
        let (count, kind) = part.split_at(part.len() - 1);
        let (count, kind) = (count.parse().unwrap(), kind.parse().unwrap());
        kinds.extend(std::iter::repeat_n::<char>(kind, count));
    }
    let mut model = Model::new(7, ListOrder::CreatedAsc, kinds.len() as u64, Churn::default());
    let mut sweep = Sweep::new(Mode::Full, limit, time(model.now), 0);
    while let Some(request) = sweep.next() {
        model.requests += 1;
        assert!(model.requests < 500, "{made}: does not end");
        if request.offset >= refused {
            assert!(sweep.looks_behind(), "{made}");
            sweep.nothing_behind();
            continue;
        }
        let skip = usize::try_from(request.offset).unwrap();
        let slice = model.rows.iter().zip(&kinds).skip(skip).take(limit as usize);
        let items: Vec<Item> = slice
            .filter(|(_, kind)| **kind != 'h')
            .map(|(row, kind)| match kind {
                'r' => item(row),
                kind => Item {
                    key: if *kind == 't' { u64::MAX } else { row.id },
                    named: false,
                    created_at: None,
                    updated_at: None,
                },
            })
            .collect();
        let page = PageView {
            items: &items,
            version: &|at| version(&items[at]),
            total: total.then(|| kinds.iter().filter(|kind| **kind != 'h').count() as u64),
            has_more: has_more.then_some(skip + limit as usize <= kinds.len().saturating_sub(1)),
            is_early: false,
        };
        if sweep.offer(&page) == Verdict::Anchored {
            let marks: Vec<Mark> = items
                .iter()
                .map(|item| Mark {
                    num: item.named.then(|| item.key + 1),
                    changed: false,
                    recent: false,
                })
                .collect();
            sweep.absorb(&page, &marks);
        }
    }
    let named = kinds.iter().filter(|kind| **kind == 'r').count() as u64;
    let lost = named - sweep.seen().len();
    (sweep, lost)
}

#[test]
fn what_is_not_shown_hides_nothing_of_what_is() {
    for (made, limit) in [
        ("2r,7h,1r,7h,30r", 10),
        ("3r,80h,1r,80h,300r", 100),
        ("2r,4h,1r,2h,1r,1h,1r,7h,30r", 10),
        ("200r,1h,10r", 1_000),
        ("50r,9h,30r", 10),
    ] {
        for (has_more, total) in [(false, false), (true, false), (false, true), (true, true)] {
            let (sweep, lost) = read_of(made, limit, has_more, total);
            assert!(
                lost == 0 || sweep.proof() != Proof::Verified,
                "{made}: {lost} lost, has_more {has_more}, total {total}"
            );
        }
    }
    // The server's word alone tells of these.
    for (made, limit) in [
        ("10h,50r", 10),
        ("100h,500r", 100),
        ("50r,28h,3r", 10),
        ("500r,310h,3r", 100),
        ("50r,2000h,3r", 10),
        ("50r,2000h,30r,500h,7r", 10),
    ] {
        for refused in [u64::MAX, 1_000_000] {
            let (sweep, lost) = read_up_to(refused, made, limit, true, false);
            assert!(
                lost == 0 || sweep.proof() != Proof::Verified,
                "{made}: {lost} lost, offsets refused from {refused}"
            );
        }
    }
    let (sweep, lost) = read_of("200r,1h,10r", 1_000, true, true);
    assert_eq!((sweep.proof(), lost), (Proof::Verified, 0));
}

#[test]
fn rows_without_an_id_keep_no_list_from_being_read() {
    for (made, limit) in [
        ("100r,1n", 100),
        ("29r,1n", 10),
        ("87r,3n", 45),
        ("100r,2t", 100),
        ("199r,1n", 100),
        ("3n", 10),
        ("30n", 10),
        ("100r,300n,100r", 100),
        ("95r,800n", 100),
        ("20r,50n,3r", 20),
    ] {
        for total in [false, true] {
            let (sweep, lost) = read_of(made, limit, false, total);
            assert_eq!((sweep.proof(), lost), (Proof::Verified, 0), "{made}, total {total}");
        }
    }
}

#[test]
fn a_list_of_constant_length_whose_rows_are_replaced_as_it_is_read_ends() {
    for order in ORDERS {
        for (limit, rows, replaced) in [(10, 300, 2), (100, 1_000, 15), (100, 1_000, 20), (20, 200, 4)] {
            for totals in [false, true] {
                let mut model = Model::new(5, order, rows, Churn::default());
                model.totals = totals;
                let mut sweep = Sweep::new(Mode::Full, limit, time(model.now), 0);
                model.read(&mut sweep, 1_000, |model, request| {
                    for _ in 0..replaced {
                        model.insert();
                        let at = model.rng.random_range(0..model.rows.len());
                        let row = model.rows.remove(at);
                        model.throughout.remove(&row.id);
                    }
                    model.sort();
                    let (items, total) = model.get(request);
                    (items, total)
                });
                if sweep.proof() == Proof::Verified {
                    assert_eq!(model.lost(&sweep), [0; 0], "{order:?}, {replaced} of {rows}");
                }
            }
        }
    }
}

#[test]
fn a_list_whose_rows_move_to_its_tail_is_not_chased_for_long() {
    for (clamp, most) in [(10, 240), (20, 130), (50, 60)] {
        let mut model = Model::new(5, ListOrder::UpdatedAsc, 1_000, Churn::default());
        model.clamp = clamp;
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            model.touch();
            model.sort();
            let (items, total) = model.get(request);
            (items, total)
        });
        assert_eq!(model.lost(&sweep), [0; 0]);
        assert!(model.requests <= most, "pages of {clamp}: {} requests", model.requests);
    }
}

#[test]
fn rows_that_claim_to_be_of_the_future_do_not_end_a_list_in_the_middle() {
    for order in ORDERS {
        let mut model = Model::new(3, order, 1_500, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(EPOCH), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            model.clamp = 90 + usize::try_from(request.offset % 11).unwrap();
            let (items, total) = model.get(request);
            (items, total)
        });
        assert_eq!(sweep.proof(), Proof::Verified);
        assert_eq!(sweep.rows_seen(), 1_500, "{order:?}");
    }
}

#[test]
fn after_a_bulk_deletion_short_pages_do_not_end_a_list_in_the_middle() {
    for order in ORDERS {
        for seed in 0..10 {
            let mut model = Model::new(seed, order, 5_000, Churn::default());
            let mut sweep = Sweep::new(Mode::Full, 50, time(model.now), 0);
            model.read(&mut sweep, 2_000, |model, request| {
                if model.requests == 60 {
                    for _ in 0..900 {
                        let row = model.rows.remove(0);
                        model.throughout.remove(&row.id);
                    }
                }
                model.clamp = model.rng.random_range(45..=50);
                let (items, total) = model.get(request);
                (items, total)
            });
            if sweep.proof() == Proof::Verified {
                assert_eq!(model.lost(&sweep), [0; 0], "seed {seed}, {order:?}");
            }
        }
    }
}

#[test]
fn a_list_without_times_ends_though_it_grows_by_a_short_page_a_request() {
    for (totals, growth) in [(false, 7), (true, 7), (false, 1), (false, 40), (true, 60)] {
        let mut model = Model::new(1, ListOrder::CreatedAsc, 0, Churn::default());
        model.totals = totals;
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 1_500, |model, request| {
            for _ in 0..growth {
                model.insert();
            }
            model.get_without_times(request)
        });
    }
}

#[test]
fn a_list_without_times_ends_though_all_its_rows_are_others_after_a_few_requests() {
    for totals in [false, true] {
        let mut model = Model::new(1, ListOrder::CreatedAsc, 20, Churn::default());
        model.totals = totals;
        let mut sweep = Sweep::new(Mode::Full, 50, time(model.now), 0);
        model.read(&mut sweep, 1_000, |model, request| {
            for _ in 0..6 {
                model.insert();
                model.delete();
            }
            model.get_without_times(request)
        });
    }
}

#[test]
fn a_list_that_fits_one_answer_takes_three_requests_two_if_there_is_a_total_or_one_if_that_is_trusted() {
    for (known_page, totals, requests) in [(13, false, 3), (0, true, 2), (12, false, 9)] {
        let mut model = Model::new(3, ListOrder::CreatedAsc, 12, Churn::default());
        model.totals = totals;
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0)
            .knowing_of_pages(known_page)
            .sparing_requests();
        model.read(&mut sweep, 5_000, |model, request| {
            let (items, total) = model.get(request);
            (items, total)
        });
        assert_eq!(sweep.proof(), Proof::Verified);
        assert_eq!(
            model.requests, requests,
            "{known_page} rows a page known, total: {totals}"
        );
    }

    let mut model = Model::new(3, ListOrder::CreatedAsc, 12, Churn::default());
    let (items, _) = model.get(Request { offset: 0, limit: 100 });
    let marks = model.store(&items);
    let page = PageView {
        items: &items,
        version: &|at| version(&items[at]),
        total: Some(12),
        has_more: None,
        is_early: false,
    };
    // A total as large as a page may be what the server counts to, and one that is all may not have more behind it.
    for (known_page, has_more, is_over) in [(13, None, true), (12, None, false), (13, Some(true), false)] {
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0)
            .knowing_of_pages(known_page)
            .trusting_total(12);
        let page = PageView { has_more, ..page };
        assert_eq!(sweep.offer(&page), Verdict::Anchored);
        sweep.absorb(&page, &marks);
        assert_eq!(sweep.next().is_none(), is_over, "{known_page}, {has_more:?}");
        assert!(!is_over || sweep.proof() == Proof::Verified);
    }
}

#[test]
fn a_tail_that_grows_with_rows_that_claim_to_be_old_is_not_read_for_ever() {
    for seed in 0..20 {
        let churn = Churn {
            inserts: 1,
            deletes: 1,
            touches: 0,
        };
        let mut model = Model::new(seed, ListOrder::CreatedAsc, 1_500, churn);
        // The server's clock is an hour ahead of what it writes into its rows.
        let started = time(model.now + 3_600);
        let mut sweep = Sweep::new(Mode::Full, 100, started, 0);
        model.read(&mut sweep, 150, |model, request| {
            let (items, _) = model.get(request);
            (items, None)
        });
        assert_eq!(model.lost(&sweep), [0; 0], "seed {seed}");
    }
}

#[test]
fn rows_without_an_id_do_not_keep_a_sweep_going() {
    let mut model = Model::new(14, ListOrder::CreatedAsc, 150, Churn::default());
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    while let Some(request) = sweep.next() {
        assert!(model.requests < 200);
        let (mut items, _) = model.get(request);
        for item in &mut items {
            item.named = false;
            item.key ^= model.requests << 32;
        }
        let marks = vec![
            Mark {
                num: None,
                changed: false,
                recent: false
            };
            items.len()
        ];
        let page = PageView {
            items: &items,
            version: &|at| version(&items[at]),
            total: None,
            has_more: None,
            is_early: false,
        };
        if sweep.offer(&page) == Verdict::Anchored {
            sweep.absorb(&page, &marks);
        }
    }
    assert!(matches!(sweep.proof(), Proof::Unproven(_)));
}

#[test]
fn a_server_that_filters_after_slicing_loses_nothing() {
    let mut model = Model::new(9, ListOrder::CreatedAsc, 2_000, Churn::default());
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    model.read(&mut sweep, 5_000, |model, request| {
        let (items, _) = model.get(request);
        let visible: Vec<Item> = items.into_iter().filter(|item| item.key % 3 != 0).collect();
        (visible, None)
    });
    assert_eq!(sweep.rows_seen(), 1_333);
}

#[test]
fn a_server_that_ignores_the_offset_is_not_asked_for_ever() {
    for (rows, total, proven) in [
        (40, None, false),
        (40, Some(40), true),
        (40, Some(300), false),
        (1, None, false),
    ] {
        let mut model = Model::new(11, ListOrder::CreatedAsc, rows, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 50, |model, request| {
            let (items, _) = model.get(Request { offset: 0, ..request });
            (items, total)
        });
        assert_eq!(sweep.rows_seen(), rows);
        assert_eq!(sweep.proof() == Proof::Verified, proven, "{total:?}");
    }
}

#[test]
fn a_server_that_makes_up_its_pages_is_not_asked_for_ever() {
    let mut model = Model::new(12, ListOrder::CreatedAsc, 150, Churn::default());
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    model.read(&mut sweep, 1_000, |model, request| {
        let offset = model.rng.random_range(0..50);
        let (items, _) = model.get(Request { offset, ..request });
        (items, None)
    });
    assert!(matches!(sweep.proof(), Proof::Unproven(_)));
}

#[test]
fn pages_of_one_row_do_not_make_a_list_of_one_row() {
    let mut model = Model::new(15, ListOrder::CreatedAsc, 2, Churn::default());
    model.clamp = 1;
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    let request = sweep.next().unwrap();
    let (items, _) = model.get(request);
    model.offer(&mut sweep, &items, None);
    // The first row goes, so that there is nothing at the second offset any more.
    model.rows.remove(0);
    model.read(&mut sweep, 20, |model, request| {
        let (items, _) = model.get(request);
        (items, None)
    });
    assert_eq!(sweep.rows_seen(), 2);
}

#[test]
fn a_page_that_may_have_been_cut_is_no_whole_list() {
    let row = |id: u64, updated: i64| Row {
        id,
        created: EPOCH,
        updated: EPOCH + updated,
    };
    let mut model = Model::new(16, ListOrder::UpdatedDesc, 0, Churn::default());
    model.clamp = 4;
    model.rows = vec![row(0, 5), row(1, 4), row(4, 3), row(3, 2), row(2, 1)];
    model.now += 10;
    let mut sweep = Sweep::new(Mode::Full, 10, time(model.now), 0);
    let request = sweep.next().unwrap();
    let (items, _) = model.get(request);
    model.offer(&mut sweep, &items, None);
    // The row behind the first page moves to the head, and another goes: at the second offset stands what stood there.
    model.rows[4].updated = EPOCH + 20;
    model.rows.remove(1);
    model.sort();
    model.read(&mut sweep, 20, |model, request| {
        let (items, _) = model.get(request);
        (items, None)
    });
    assert_eq!(sweep.rows_seen(), 5);
    assert_eq!(sweep.proof(), Proof::Verified);
}

#[test]
fn a_page_of_rows_without_an_id_that_are_the_very_same_is_said_to_be_the_reason() {
    let (sweep, _) = read_of("100r,300t,100r", 100, false, false);
    let Proof::Unproven(why) = sweep.proof() else {
        panic!("proven");
    };
    assert!(why.contains("without an id"), "{why}");
}

#[test]
fn a_page_cut_where_it_overlaps_the_one_before_does_not_end_a_list_whose_total_says_more() {
    for order in ORDERS {
        for short in 3..8 {
            for rows in [101, 158, 700] {
                let mut model = Model::new(5, order, rows, Churn::default());
                model.totals = true;
                let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
                model.read(&mut sweep, 5_000, |model, request| {
                    if model.requests == 1 {
                        model.clamp = short;
                    }
                    model.get(request)
                });
                let case = format!("{order:?}, {rows} rows, pages cut to {short}");
                assert_eq!((sweep.proof(), sweep.rows_seen()), (Proof::Verified, rows), "{case}");
            }
        }
    }
}

#[test]
fn a_list_that_changes_as_fast_as_it_is_read_is_not_read_for_ever() {
    let most = 1_500;
    for order in ORDERS {
        for (page, changes) in [(3, 1), (3, 4), (10, 4), (10, 7), (20, 14), (20, 20), (20, 27)] {
            for (inserts, touches, deletes) in [(1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1)] {
                let mut model = Model::new(1, order, 60, Churn::default());
                model.clamp = page;
                let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
                model.read(&mut sweep, most, |model, request| {
                    (0..changes * inserts).for_each(|_| model.insert());
                    (0..changes * touches).for_each(|_| model.touch());
                    model.sort();
                    (0..changes * deletes).for_each(|_| model.delete());
                    model.get(request)
                });
                let lost = model.lost(&sweep);
                assert!(
                    lost.is_empty() || sweep.proof() != Proof::Verified,
                    "{order:?}, {changes} changes a page of {page}: lost {lost:?}"
                );
            }
        }
    }
}

/// It is cut by its bytes, and whether there is more is told by how many rows it has.
#[test]
fn a_page_that_says_there_is_no_more_because_it_was_cut_does_not_end_a_list() {
    for (rows, first_large) in [(300_usize, 290_usize), (95, 80), (100, 99), (58, 43)] {
        let mut model = Model::new(7, ListOrder::CreatedDesc, rows as u64, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0)
            .trusting_total(1_000)
            .knowing_of_pages(60);
        while let Some(request) = sweep.next() {
            model.requests += 1;
            assert!(model.requests < 100, "does not end");
            let skip = usize::try_from(request.offset).unwrap();
            // Nothing large comes with what is before it.
            let end = if skip < first_large { first_large } else { skip + 9 };
            let items: Vec<Item> = model.rows[..end.min(rows)]
                .iter()
                .skip(skip)
                .take(100)
                .map(item)
                .collect();
            let page = PageView {
                items: &items,
                version: &|at| version(&items[at]),
                total: None,
                has_more: Some(items.len() == 100),
                is_early: false,
            };
            model.offer_page(&mut sweep, &page);
        }
        let lost = model.lost(&sweep);
        assert!(lost.is_empty(), "{rows}: lost {lost:?}, {:?}", sweep.proof());
    }
}

/// As search engines do: there is more, but no offset leads there.
#[test]
fn a_server_that_shows_a_part_of_a_list_and_says_that_there_is_more_proves_nothing() {
    for order in ORDERS {
        for (is_capped, refuses) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut model = Model::new(7, order, 1_015, Churn::default());
            let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
            while let Some(request) = sweep.next() {
                model.requests += 1;
                assert!(model.requests < 200, "does not end");
                let skip = usize::try_from(request.offset).unwrap();
                if refuses && skip >= 1_000 {
                    assert!(sweep.looks_behind(), "asks for {skip}");
                    sweep.nothing_behind();
                    continue;
                }
                let end = (skip + 100).min(1_000);
                let items: Vec<Item> = model.rows[skip.min(end)..end].iter().map(item).collect();
                let page = PageView {
                    items: &items,
                    version: &|at| version(&items[at]),
                    total: is_capped.then_some(1_000),
                    has_more: Some(skip + items.len() < 1_015),
                    is_early: false,
                };
                model.offer_page(&mut sweep, &page);
            }
            let case = format!("{order:?}, total capped: {is_capped}, refuses: {refuses}");
            assert_eq!(sweep.rows_seen(), 1_000, "{case}");
            assert_ne!(sweep.proof(), Proof::Verified, "{case}");
        }
    }
}

#[test]
fn a_short_page_that_stands_right_behind_itself_is_not_all_of_a_list() {
    let mut model = Model::new(7, ListOrder::CreatedAsc, 120, Churn::default());
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0)
        .knowing_of_pages(60)
        .sparing_requests();
    model.read(&mut sweep, 100, |model, request| {
        let (mut items, _) = model.get(request);
        // It leaves them out after slicing.
        items.retain(|item| (90..100).contains(&item.key) || item.key >= 110);
        (items, None)
    });
    model.throughout.retain(|id| (90..100).contains(id) || *id >= 110);
    model.assert_no_false_proof(&sweep, "rows left out after slicing");
}

/// As where a limit is clamped and rows are left out after slicing.
#[test]
fn a_list_that_begins_with_an_empty_page_that_promises_more_is_no_proof() {
    for (hidden, size) in [(50, 50), (80, 20), (99, 50)] {
        let mut model = Model::new(7, ListOrder::CreatedDesc, 100, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        while let Some(request) = sweep.next() {
            model.requests += 1;
            assert!(model.requests < 100, "does not end");
            let skip = usize::try_from(request.offset).unwrap();
            let slice = model.rows.iter().zip(0..).skip(skip).take(size);
            let items: Vec<Item> = slice
                .filter(|(_, at)| *at >= hidden)
                .map(|(row, _)| item(row))
                .collect();
            let page = PageView {
                items: &items,
                version: &|at| version(&items[at]),
                total: None,
                has_more: Some(skip + size < 100),
                is_early: false,
            };
            model.offer_page(&mut sweep, &page);
        }
        assert!(
            sweep.rows_seen() == 100 - hidden || sweep.proof() != Proof::Verified,
            "{hidden} hidden, {size} a page: {} seen",
            sweep.rows_seen()
        );
    }
}
