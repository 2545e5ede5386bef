//! No row is lost, what is proven is true, and an incremental run reads what it has to.

use super::*;

/// Where it overlaps enough: else what was fetched ahead is of no use.
#[test]
fn behind_a_page_that_is_shorter_by_a_row_it_goes_on_where_it_would_have() {
    for (size, as_foreseen) in [(100, true), (99, true), (97, true), (96, false), (60, false)] {
        let mut model = Model::new(1, ListOrder::CreatedDesc, 1_000, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        let mut foreseen = None;
        for clamp in [100, size] {
            foreseen = sweep.ahead().next();
            model.clamp = clamp;
            let (items, total) = model.get(sweep.next().unwrap());
            model.offer(&mut sweep, &items, total);
        }
        assert_eq!(sweep.next() == foreseen, as_foreseen, "{size}: {foreseen:?}");
        let overlap = 95 + size as u64 - sweep.next().unwrap().offset;
        assert!((2..=5).contains(&overlap), "{size}: {overlap}");
    }
}

#[test]
fn no_row_alive_throughout_is_lost_whatever_changes() {
    let churns = [
        Churn {
            inserts: 1,
            deletes: 1,
            touches: 1,
        },
        Churn {
            inserts: 5,
            deletes: 20,
            touches: 5,
        },
        Churn {
            inserts: 40,
            deletes: 3,
            touches: 10,
        },
    ];
    let mut verified = 0;
    let mut sweeps = 0;
    for order in ORDERS {
        for churn in churns {
            for seed in 0..40 {
                let mut model = Model::new(seed, order, 1_500, churn);
                model.totals = seed % 2 == 0;
                let sweep = model.run(Mode::Full);
                if sweep.proof() == Proof::Verified {
                    assert_eq!(model.lost(&sweep), [0; 0], "seed {seed}, {order:?}, {churn:?}");
                    verified += 1;
                }
                sweeps += 1;
            }
        }
    }
    assert!(
        verified * 10 > sweeps * 8,
        "only {verified} of {sweeps} sweeps were proofs"
    );
}

#[test]
fn a_list_at_rest_is_read_in_little_more_than_its_pages() {
    for (order, most) in [
        (ListOrder::CreatedDesc, 25),
        (ListOrder::CreatedAsc, 25),
        (ListOrder::UpdatedDesc, 27),
        (ListOrder::UpdatedAsc, 25),
    ] {
        let mut model = Model::new(1, order, 2_000, Churn::default());
        let sweep = model.run(Mode::Full);
        assert_eq!(sweep.proof(), Proof::Verified, "{order:?}");
        assert_eq!(model.lost(&sweep), [0; 0]);
        assert!(model.requests <= most, "{order:?} took {} requests", model.requests);
    }
}

#[test]
fn rows_without_an_id_that_are_the_very_same_are_counted_each() {
    for order in ORDERS {
        let mut model = Model::new(5, order, 700, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            let (mut items, total) = model.get(request);
            for item in items.iter_mut().filter(|item| item.key % 40 == 0) {
                (item.key, item.named, item.created_at) = (u64::MAX, false, None);
            }
            (items, total)
        });
        assert_eq!(sweep.nameless().undated, 18, "{order:?}");
    }
}

#[test]
fn rows_without_an_id_are_no_anchors() {
    for seed in 0..20 {
        let mut model = Model::new(
            seed,
            ListOrder::CreatedAsc,
            2_500,
            Churn {
                deletes: 16,
                ..Churn::default()
            },
        );
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            for _ in 0..model.rng.random_range(0..=16) {
                if !model.rows.is_empty() {
                    let row = model.rows.remove(0);
                    model.throughout.remove(&row.id);
                }
            }
            let (mut items, total) = model.get(request);
            for item in items.iter_mut().filter(|item| item.key % 10 == 0) {
                model.throughout.remove(&item.key);
                item.key = u64::MAX;
                item.named = false;
            }
            (items, total)
        });
        model.throughout.retain(|id| id % 10 != 0);
        if sweep.proof() == Proof::Verified {
            assert_eq!(model.lost(&sweep), [0; 0], "seed {seed}");
        }
    }
}

#[test]
fn the_head_is_read_on_where_its_first_page_is_not_the_largest() {
    for seed in 0..20 {
        let touches = Churn {
            touches: 20,
            ..Churn::default()
        };
        let mut model = Model::new(seed, ListOrder::UpdatedDesc, 2_500, touches);
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            let (mut items, total) = model.get(request);
            items.retain(|item| item.key % 50 != 0);
            (items, total)
        });
        model.throughout.retain(|id| id % 50 != 0);
        if sweep.proof() == Proof::Verified {
            assert_eq!(model.lost(&sweep), [0; 0], "seed {seed}");
        }
    }
}

#[test]
fn a_page_that_is_cut_is_asked_for_again_a_few_times_in_a_long_list() {
    let mut model = Model::new(1, ListOrder::CreatedAsc, 5_000, Churn::default());
    model.clamp = 20;
    let sweep = model.run(Mode::Full);
    assert_eq!(sweep.proof(), Proof::Verified);
    // Every page brings 19 rows that were not known.
    assert!(model.requests <= 264 + 9, "{} requests", model.requests);
}

#[test]
fn an_incremental_run_reads_the_growing_end_alone() {
    for order in [
        ListOrder::CreatedDesc,
        ListOrder::UpdatedDesc,
        ListOrder::CreatedAsc,
        ListOrder::UpdatedAsc,
    ] {
        let mut model = Model::new(5, order, 3_000, Churn::default());
        model.run(Mode::Full);
        let watermark = model.mirror.len() as u64;
        for _ in 0..250 {
            model.insert();
        }
        model.sort();
        let before = model.requests;
        let mode = match order {
            ListOrder::CreatedDesc | ListOrder::UpdatedDesc => Mode::Head { watermark },
            _ => Mode::Tail {
                watermark,
                start: watermark - 100,
            },
        };
        model.run(mode);
        assert_eq!(model.mirror.len(), 3_250, "{order:?}");
        assert!(model.requests - before <= 6, "{order:?}");
        let known = model.mirror.len() as u64;
        let idle = match mode {
            Mode::Tail { .. } => Mode::Tail {
                watermark: known,
                start: known - 100,
            },
            _ => Mode::Head { watermark: known },
        };
        assert!(model.run(idle).pages() <= 2, "{order:?}");
    }
}

#[test]
fn an_incremental_run_cut_short_leaves_no_hole() {
    let mut model = Model::new(6, ListOrder::CreatedDesc, 1_000, Churn::default());
    model.run(Mode::Full);
    let watermark = model.mirror.len() as u64;
    for _ in 0..500 {
        model.insert();
    }
    model.sort();
    // The first page is stored, then the process dies.
    let (items, _) = model.get(Request { offset: 0, limit: 100 });
    model.store(&items);
    model.run(Mode::Head { watermark });
    assert_eq!(model.mirror.len(), 1_500);
}

#[test]
fn an_incremental_run_cut_short_leaves_no_changed_row_stale() {
    for order in [ListOrder::UpdatedDesc, ListOrder::UpdatedAsc] {
        let mut model = Model::new(13, order, 1_000, Churn::default());
        model.run(Mode::Full);
        let mode = match order {
            ListOrder::UpdatedDesc => Mode::Head { watermark: 1_000 },
            _ => Mode::Tail {
                watermark: 1_000,
                start: 900,
            },
        };
        for _ in 0..600 {
            model.touch();
        }
        model.sort();
        // The first page is stored, then the process dies.
        let offset = if order == ListOrder::UpdatedDesc { 0 } else { 900 };
        let (items, _) = model.get(Request { offset, limit: 100 });
        model.store(&items);
        model.run(mode);
        for row in &model.rows {
            assert_eq!(model.mirror[&row.id].1, row.updated.unsigned_abs(), "{order:?}");
        }
    }
}

#[test]
fn changed_rows_are_found_where_the_order_shows_them() {
    for (order, mode) in [
        (ListOrder::UpdatedDesc, Mode::Head { watermark: 2_000 }),
        (
            ListOrder::UpdatedAsc,
            Mode::Tail {
                watermark: 2_000,
                start: 1_900,
            },
        ),
    ] {
        let mut model = Model::new(7, order, 2_000, Churn::default());
        model.run(Mode::Full);
        for _ in 0..300 {
            model.touch();
        }
        model.sort();
        model.run(mode);
        for row in &model.rows {
            assert_eq!(model.mirror[&row.id].1, row.updated.unsigned_abs(), "{order:?}");
        }
    }
}

#[test]
fn a_wrong_total_is_no_proof_and_costs_no_row() {
    for wrong in [-5_i64, 5, 100_000] {
        let mut model = Model::new(8, ListOrder::CreatedDesc, 700, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            let (items, _) = model.get(request);
            (items, Some(700_u64.saturating_add_signed(wrong)))
        });
        assert_eq!(sweep.rows_seen(), 700);
        assert!(matches!(sweep.proof(), Proof::Unproven(_)), "{wrong}");
        assert!(model.requests < 40, "{wrong}: {} requests", model.requests);
    }
}

#[test]
fn a_total_that_is_wrong_in_another_way_each_time_is_no_proof() {
    let mut verified = 0;
    for seed in 0..50 {
        let mut model = Model::new(seed, ListOrder::CreatedDesc, 400, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            let (items, _) = model.get(request);
            let total = Some(model.rng.random_range(300..500));
            (items, total)
        });
        assert_eq!(sweep.rows_seen(), 400);
        verified += u32::from(sweep.proof() == Proof::Verified);
    }
    assert!(verified <= 2, "{verified} of 50 liars were believed");
}

#[test]
fn a_list_that_never_holds_still_is_read_but_not_proven() {
    let mut model = Model::new(10, ListOrder::Random, 400, Churn::default());
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    model.read(&mut sweep, 500, |model, request| {
        let (mut items, _) = model.get(request);
        for item in &mut items {
            item.updated_at = Some(time(EPOCH + model.requests.cast_signed()));
        }
        (items, None)
    });
    assert_eq!(sweep.rows_seen(), 400);
    assert!(matches!(sweep.proof(), Proof::Unproven(_)));
}

#[test]
fn small_pages_are_stepped_back_to_and_not_over() {
    for seed in 0..20 {
        let churn = Churn {
            inserts: 1,
            deletes: 1,
            touches: 0,
        };
        let mut model = Model::new(seed, ListOrder::CreatedDesc, 60, churn);
        model.clamp = 4;
        let sweep = model.run(Mode::Full);
        assert_eq!(model.lost(&sweep), [0; 0], "seed {seed}");
        assert!(model.requests < 200, "seed {seed}: {} requests", model.requests);
    }
}

#[test]
fn a_finished_sweep_that_is_gone_on_with_reads_what_came_since() {
    for order in ORDERS {
        for rows in [40, 2_000] {
            if order == ListOrder::Random && rows > 100 {
                continue;
            }
            let mut model = Model::new(4, order, rows, Churn::default());
            let finished = model.run(Mode::Full).checkpoint();
            for _ in 0..30 {
                model.insert();
                if matches!(order, ListOrder::UpdatedDesc | ListOrder::UpdatedAsc) {
                    model.touch();
                }
            }
            model.sort();
            let before = model.requests;
            let mut sweep = Sweep::resume(&finished, time(model.now)).unwrap();
            model.read(&mut sweep, 5_000, Model::get);
            assert_eq!(sweep.rows_seen(), rows + 30, "{order:?}");
            assert_eq!(sweep.proof(), Proof::Verified);
            assert!(model.requests - before <= 9, "{order:?}: {}", model.requests - before);
            for row in &model.rows {
                assert_eq!(model.mirror[&row.id].1, row.updated.unsigned_abs(), "{order:?}");
            }
        }
    }
}

#[test]
fn what_moved_to_the_head_is_found_below_all_that_others_stored_meanwhile() {
    for incremental in [false, true] {
        let mut model = Model::new(2, ListOrder::UpdatedDesc, 2_500, Churn::default());
        let mode = if incremental {
            model.run(Mode::Full);
            for _ in 0..1_500 {
                model.touch();
            }
            model.sort();
            Mode::Head { watermark: 2_500 }
        } else {
            Mode::Full
        };
        let mut sweep = Sweep::new(mode, 100, time(model.now), model.mirror.len() as u64);
        let before = model.requests;
        let last = if incremental { 900 } else { 2_400 };
        let mut moved = None;
        model.read(&mut sweep, 5_000, |model, request| {
            if model.requests == before + 3 {
                model.now += 1;
                model.rows[last].updated = model.now;
                moved = Some(model.rows[last].id);
            }
            if (4..9).contains(&(model.requests - before)) {
                // Webhooks tell of these; they have been read.
                for at in (0..350).filter(|at| *at % 4 == 1) {
                    if Some(model.rows[at].id) != moved {
                        model.now += 1;
                        model.rows[at].updated = model.now;
                        let row = item(&model.rows[at]);
                        model.store(&[row]);
                    }
                }
            }
            model.sort();
            model.get(request)
        });
        let moved = moved.unwrap();
        let row = model.rows.iter().find(|row| row.id == moved).unwrap();
        let stored = model.mirror.get(&moved).map(|(_, version, _)| *version);
        assert_eq!(stored, Some(row.updated.unsigned_abs()), "incremental: {incremental}");
    }
}

/// As pages are stored: several that are known to continue each other are taken together, before the first is absorbed.
#[test]
fn pages_that_are_taken_together_are_what_the_sweep_asks_for() {
    for order in ORDERS {
        // The second is a sweep that was begun before any of the rows was there, and cut short.
        for started_at in [EPOCH + 100_000, EPOCH] {
            let mut model = Model::new(1, order, 2_000, Churn::default());
            let begun = Sweep::new(Mode::Full, 10, time(started_at), 0);
            let mut sweep = Sweep::resume(&begun.checkpoint(), time(EPOCH + 100_000)).unwrap();
            let mut most = 0;
            while let Some(request) = sweep.next() {
                assert!(model.requests < 5_000, "does not end");
                let (items, _) = model.get(request);
                if as_page(&items, |page| sweep.offer(page)) != Verdict::Anchored {
                    continue;
                }
                let mut taken = vec![items];
                while taken.len() < 4 && as_page(taken.last().unwrap(), |page| sweep.goes_on_behind(page, taken.len()))
                {
                    let Some(request) = sweep.ahead().nth(taken.len() - 1) else {
                        break;
                    };
                    let (items, _) = model.get(request);
                    let before = taken.last().unwrap();
                    let goes_on = items.last().is_some_and(|last| !before.contains(last))
                        && items.iter().any(|item| before.contains(item));
                    if !goes_on {
                        break;
                    }
                    taken.push(items);
                }
                most = most.max(taken.len());
                for (nth, items) in taken.iter().enumerate() {
                    let verdict = as_page(items, |page| sweep.offer(page));
                    assert_eq!(verdict, Verdict::Anchored, "{order:?}, page {nth}: {sweep:?}");
                    let marks = model.store(items);
                    as_page(items, |page| sweep.absorb(page, &marks));
                }
            }
            // Where what changes now may move to, one page is read after the other.
            let is_where_rows_move = matches!(order, ListOrder::UpdatedAsc | ListOrder::Random);
            let together = if started_at == EPOCH && is_where_rows_move {
                1
            } else {
                4
            };
            assert_eq!(
                (sweep.proof(), sweep.rows_seen(), most),
                (Proof::Verified, 2_000, together),
                "{order:?}"
            );
        }
    }
}

#[test]
fn a_list_that_turns_out_to_be_ordered_otherwise_is_read_again() {
    for seed in 0..20 {
        let mut model = Model::new(seed, ListOrder::CreatedDesc, 400, Churn::default());
        for row in &mut model.rows {
            row.updated = row.created;
        }
        // It is by the last change, which it does not tell, and nothing has changed yet.
        model.order = ListOrder::UpdatedDesc;
        let mut sweep = Sweep::new(Mode::Full, 20, time(model.now), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            let mut touched: Vec<usize> = Vec::new();
            if model.requests == 3 {
                touched.push(370);
            } else if (4..40).contains(&model.requests) {
                touched.extend([0, 1].map(|_| model.rng.random_range(0..60)));
            }
            for at in touched {
                model.now += 1;
                model.rows[at].updated = model.now;
            }
            model.sort();
            let (mut items, total) = model.get(request);
            for item in &mut items {
                item.updated_at = None;
            }
            (items, total)
        });
        if sweep.proof() == Proof::Verified {
            assert_eq!(model.lost(&sweep), [0; 0], "seed {seed}");
        }
    }
}

#[test]
fn what_moves_into_the_moment_of_the_last_change_is_found_or_the_run_is_no_proof() {
    let mut proven = 0;
    for at in 1..24 {
        for moment in [1, 3_600] {
            let mut model = Model::new(at, ListOrder::UpdatedDesc, 200, Churn::default());
            model.now += moment;
            for row in model.rows.iter_mut().step_by(2).take(80) {
                row.updated = model.now;
            }
            model.sort();
            // What is long over cannot be the moment of anything that moves; what is not may be, and nothing moves.
            let moves = moment == 1 && at < 20;
            let started_at = time(if moment == 1 { model.now } else { model.now + 7_200 });
            let mut sweep = Sweep::new(Mode::Full, 10, started_at, 0);
            model.read(&mut sweep, 500, |model, request| {
                if model.requests == at && moves {
                    model.rows[185].updated = model.now;
                    model.sort();
                }
                model.get(request)
            });
            if sweep.proof() == Proof::Verified {
                assert_eq!(model.lost(&sweep), [0; 0], "moved at request {at}");
                proven += u32::from(!moves);
            }
        }
    }
    assert_eq!(proven, 23 + 4, "lists at rest that were proven");
}

#[test]
fn a_sweep_gone_on_with_after_the_list_has_grown_much_is_a_proof() {
    for totals in [false, true] {
        let mut model = Model::new(3, ListOrder::CreatedAsc, 400, Churn::default());
        model.totals = totals;
        let mut sweep = Sweep::new(Mode::Full, 10, time(model.now), 0);
        model.read(&mut sweep, 5_000, |model, request| {
            if model.requests == 20 {
                for _ in 0..600 {
                    model.insert();
                }
            }
            model.get(request)
        });
        assert_eq!(
            (sweep.proof(), sweep.rows_seen()),
            (Proof::Verified, 1_000),
            "totals {totals}"
        );
    }
}

#[test]
fn an_id_that_stands_in_the_list_twice_with_different_content_is_no_proof() {
    let orders = [
        ListOrder::CreatedDesc,
        ListOrder::CreatedAsc,
        ListOrder::UpdatedDesc,
        ListOrder::UpdatedAsc,
        ListOrder::Random,
    ];
    // Whole lists of one page and of many, within a page and where one begins; the second time what is written is what stands
    // there last.
    let lists = [(80, 70), (900, 787), (900, 100), (900, 195), (900, 99)];
    for (order, (rows, second)) in orders.iter().flat_map(|order| lists.map(|list| (*order, list))) {
        let mut model = Model::new(1, order, rows, Churn::default());
        let again = model.rows[10].id;
        for _ in 1..=2 {
            let highest = model.mirror.len() as u64;
            let mut sweep = Sweep::new(Mode::Full, 100, time(model.now + 3_600), highest);
            model.read(&mut sweep, 500, |model, request| {
                let (mut items, total) = model.get(request);
                for (_, item) in (request.offset..).zip(&mut items).filter(|(at, _)| *at == second) {
                    item.key = again;
                }
                (items, total)
            });
            assert_ne!(
                sweep.proof(),
                Proof::Verified,
                "{order:?}, {rows} rows, again at {second}"
            );
        }
    }
}

#[test]
fn a_row_that_moves_within_a_list_whose_rows_do_not_all_tell_when_they_changed_is_found_or_the_run_is_no_proof() {
    for (seed, order) in (0..60).flat_map(|seed| [(seed, ListOrder::NullsFirst), (seed, ListOrder::NullsLast)]) {
        let churn = Churn {
            touches: 1 + seed % 2,
            ..Churn::default()
        };
        let mut model = Model::new(seed, order, 600, churn);
        for _ in 0..3 {
            let sweep = model.run(Mode::Full);
            let lost = model.lost(&sweep);
            assert!(
                sweep.proof() != Proof::Verified || lost.is_empty(),
                "{order:?}, seed {seed}: {lost:?}"
            );
        }
        model.churn = Churn::default();
        model.run(Mode::Full);
        let sweep = model.run(Mode::Full);
        assert_eq!(
            (sweep.proof(), model.lost(&sweep)),
            (Proof::Verified, Vec::new()),
            "{order:?}, at rest"
        );
    }
}

/// Where the server sorts by a date alone, rows of one date stand in each answer as its database happens to find them.
#[test]
fn rows_of_one_date_that_stand_elsewhere_in_each_answer_are_no_proof() {
    let (mut proven, mut shuffled) = (0, 0);
    for seed in 0..200 {
        for ties in [2, 15, 60, 300] {
            let mut model = Model::new(seed, ListOrder::CreatedAsc, 300, Churn::default());
            for row in model.rows.iter_mut().skip(200 - ties / 2).take(ties) {
                row.created = EPOCH + 200;
            }
            model.rows.sort_by_key(|row| row.created);
            let mut sweep = Sweep::new(Mode::Full, 20, time(model.now), 0);
            model.read(&mut sweep, 3_000, |model, request| {
                let end = request.offset + u64::from(request.limit);
                let shuffle = |row: &Row| (row.id + 1).wrapping_mul(end.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1) >> 7;
                model.rows.sort_by_key(|row| (row.created, shuffle(row)));
                model.requests += 1;
                let skip = usize::try_from(request.offset).unwrap();
                (model.rows.iter().skip(skip).take(20).map(item).collect(), None)
            });
            let lost = model.lost(&sweep);
            shuffled += usize::from(!lost.is_empty());
            if sweep.proof() == Proof::Verified {
                proven += 1;
                assert!(lost.is_empty(), "{seed}, {ties}: {} lost", lost.len());
            }
        }
    }
    assert!(proven > 100 && shuffled > 100, "{proven} proven, {shuffled} not whole");
}

/// Where nothing tells when a row last changed, that rows changed is all there is to tell that they may have moved.
#[test]
fn a_list_in_no_known_order_and_without_dates_of_changes_is_read_until_nothing_changes() {
    let mut model = Model::new(3, ListOrder::Random, 300, Churn::default());
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    let mut passes = 0;
    model.read(&mut sweep, 100, |model, request| {
        passes += u64::from(request.offset == 0);
        let (mut items, total) = model.get(request);
        for item in &mut items {
            item.updated_at = None;
        }
        if passes == 2
            && request.offset == 0
            && let Some(known) = model.mirror.get_mut(&items[7].key)
        {
            known.1 = 0;
        }
        (items, total)
    });
    assert_eq!((passes, sweep.proof()), (3, Proof::Verified));
}

/// Each of these is all that shows that rows stand elsewhere than they stood.
#[test]
fn rows_of_one_date_are_no_proof_if_they_stand_elsewhere_on_two_pages() {
    type Answer = fn(u64) -> Vec<u64>;
    let answers: [(&str, Answer); 5] = [
        ("nothing", |offset| (offset..offset + 100).collect()),
        // Of the five rows that both pages have, four are elsewhere, and so are five that come in their place.
        ("gone", |offset| match offset {
            95 => std::iter::once(95).chain(105..204).collect(),
            _ => (offset..offset + 100).collect(),
        }),
        ("between", |offset| match offset {
            95 => [95, 96, 250, 97, 98, 99].into_iter().chain(105..199).collect(),
            _ => (offset..offset + 100).collect(),
        }),
        ("turned round", |offset| match offset {
            95 => [96, 95, 97, 98, 99].into_iter().chain(105..200).collect(),
            _ => (offset..offset + 100).collect(),
        }),
        // What the second page lacks is on the first by now, and what that had is on the third.
        ("again", |offset| match offset {
            95 => (95..100).chain(105..200).collect(),
            190 => (195..200).chain(90..95).chain(200..290).collect(),
            _ => (offset..offset + 100).collect(),
        }),
    ];
    for (what, answer) in answers {
        let mut model = Model::new(1, ListOrder::CreatedAsc, 400, Churn::default());
        for row in model.rows.iter_mut().skip(60).take(200) {
            row.created = EPOCH + 100;
        }
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        model.read(&mut sweep, 50, |model, request| {
            model.requests += 1;
            let shown = answer(request.offset)
                .into_iter()
                .filter_map(|id| model.rows.get(usize::try_from(id).unwrap()));
            (shown.map(item).collect(), None)
        });
        assert_eq!(sweep.proof() == Proof::Verified, what == "nothing", "{what}");
        assert_eq!(model.lost(&sweep).is_empty(), what == "nothing", "{what}");
    }
}

#[test]
fn rows_of_one_date_without_an_id_are_no_sign_that_they_stand_elsewhere() {
    let mut model = Model::new(1, ListOrder::CreatedAsc, 400, Churn::default());
    for row in model.rows.iter_mut().skip(60).take(200) {
        row.created = EPOCH + 100;
    }
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    model.read(&mut sweep, 50, |model, request| {
        let (mut items, total) = model.get(request);
        for item in items.iter_mut().filter(|item| item.key % 3 == 0) {
            item.named = false;
        }
        (items, total)
    });
    assert_eq!(sweep.proof(), Proof::Verified);
}

/// As PostgreSQL sorts by what is null until a row changes: changed rows stand first, and a list of which none has looks like one by
/// creation.
#[test]
fn a_row_that_changes_for_the_first_time_and_moves_to_the_head_is_found_or_the_run_is_no_proof() {
    let mut model = Model::new(1, ListOrder::NullsLast, 400, Churn::default());
    for row in &mut model.rows {
        row.updated = row.created;
    }
    model.sort();
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    model.read(&mut sweep, 5_000, |model, request| {
        if model.requests == 1 {
            model.now += 1;
            let (now, last) = (model.now, model.rows.len() - 1);
            model.rows[last].updated = now;
        }
        model.get(request)
    });
    let lost = model.lost(&sweep);
    assert!(lost.is_empty(), "lost {lost:?}, {:?}", sweep.proof());
}

/// By something that no date tells of, such as the last activity.
#[test]
fn rows_that_move_to_the_head_by_what_no_date_tells_are_no_proof_while_they_do() {
    for (until, proven) in [(6, true), (u64::MAX, false)] {
        let mut model = Model::new(5, ListOrder::Random, 400, Churn::default());
        let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
        let mut rows = std::mem::take(&mut model.rows);
        model.read(&mut sweep, 5_000, |model, request| {
            model.requests += 1;
            if model.requests < until {
                let moved = rows.remove(250);
                rows.insert(0, moved);
            }
            let skip = usize::try_from(request.offset).unwrap();
            (rows.iter().skip(skip).take(100).map(item).collect(), None)
        });
        assert_eq!(sweep.proof() == Proof::Verified, proven, "{:?}", sweep.proof());
    }
}

/// A row that changed may have moved to where a page was read before the one on which it had stood.
#[test]
fn a_page_to_which_rows_move_that_was_asked_for_too_early_is_asked_for_again() {
    let mut model = Model::new(1, ListOrder::UpdatedAsc, 400, Churn::default());
    // By the minute: the last hundred changed in the present one.
    for (at, row) in (0..).zip(&mut model.rows) {
        row.updated = EPOCH + if at < 300 { at - 10_000 } else { 40 };
        row.created = row.updated;
    }
    let mut sweep = Sweep::new(Mode::Full, 100, time(EPOCH + 70), 0);
    let mut again = 0;
    while let Some(request) = sweep.next() {
        model.requests += 1;
        assert!(model.requests < 50, "does not end");
        let is_early = model.requests.is_multiple_of(2);
        let skip = usize::try_from(request.offset).unwrap();
        let items: Vec<Item> = model.rows.iter().skip(skip).take(100).map(item).collect();
        let page = PageView {
            items: &items,
            version: &|at| version(&items[at]),
            total: None,
            has_more: None,
            is_early,
        };
        let looks = sweep.looks_behind();
        model.offer_page(&mut sweep, &page);
        let is_recent = items.iter().any(|item| item.updated_at > Some(time(EPOCH)));
        if is_early && is_recent && !looks && request.offset > 0 {
            assert_eq!(sweep.next(), Some(request));
            again += 1;
        }
    }
    assert!(again > 0);
    assert_eq!((sweep.proof(), sweep.rows_seen()), (Proof::Verified, 400));
}

#[test]
fn a_row_that_is_twice_on_a_page_the_very_same_is_one() {
    let mut model = Model::new(1, ListOrder::CreatedAsc, 40, Churn::default());
    let twin = model.rows[20];
    model.rows.insert(20, twin);
    let mut sweep = Sweep::new(Mode::Full, 100, time(model.now), 0);
    while let Some(request) = sweep.next() {
        let (items, _) = model.get(request);
        as_page(&items, |page| {
            if sweep.offer(page) == Verdict::Anchored {
                let mut marks = model.store(&items);
                // As the warehouse tells it of rows that it takes together.
                if request.offset == 0 {
                    for mark in &mut marks {
                        mark.changed = true;
                    }
                }
                sweep.absorb(page, &marks);
            }
        });
    }
    assert_eq!((sweep.proof(), sweep.rows_seen()), (Proof::Verified, 40));
}
