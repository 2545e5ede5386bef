//! What happens in one simulated life of an account: plain figures, drawn from a seed, that can be simplified one by one
//! and written down as a literal.

use crate::oracle::Promise;
use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// How the API lists contacts and conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Newest first by creation.
    CreatedDesc,
    /// Oldest first by creation.
    CreatedAsc,
    /// Last changed first: a touched row moves to the head.
    UpdatedDesc,
    /// By something nobody sees: new rows turn up anywhere, and no row moves.
    UnknownStable,
    /// Last changed last: a touched row moves to the tail.
    UpdatedAsc,
    /// Last changed first, but before them those that never changed and do not say when they did, as PostgreSQL sorts what is
    /// null: a touched row moves from there into the middle.
    UpdatedNullsFirst,
    /// Last changed last, and behind all that never changed: a touched row moves up, behind the others that have.
    UpdatedNullsLast,
}

impl Order {
    /// New ones come last: what a seed stands for is drawn by their position.
    pub(crate) const ALL: [Self; 7] = [
        Self::CreatedDesc,
        Self::CreatedAsc,
        Self::UpdatedDesc,
        Self::UnknownStable,
        Self::UpdatedAsc,
        Self::UpdatedNullsFirst,
        Self::UpdatedNullsLast,
    ];

    /// Whether a row stands by when it last changed.
    pub(crate) const fn is_by_change(self) -> bool {
        matches!(
            self,
            Self::UpdatedDesc | Self::UpdatedAsc | Self::UpdatedNullsFirst | Self::UpdatedNullsLast
        )
    }

    /// Whether rows that never changed do not say when they did, and stand by themselves.
    pub(crate) const fn has_nulls(self) -> bool {
        matches!(self, Self::UpdatedNullsFirst | Self::UpdatedNullsLast)
    }

    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CreatedDesc => "created-desc",
            Self::CreatedAsc => "created-asc",
            Self::UpdatedDesc => "updated-desc",
            Self::UnknownStable => "unknown-stable",
            Self::UpdatedAsc => "updated-asc",
            Self::UpdatedNullsFirst => "updated-nulls-first",
            Self::UpdatedNullsLast => "updated-nulls-last",
        }
    }
}

/// What a list comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    Bare,
    Data,
    Items,
    Resource,
    /// `{"data": {"items": […]}}`.
    Nested,
}

/// Where a figure about the list stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Absent,
    Beside,
    Meta,
}

/// Which dates the rows carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dates {
    Both,
    Created,
    Neither,
}

/// How dates are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    Rfc3339,
    Spaced,
    UnixSeconds,
    UnixMilliseconds,
}

/// What a rate window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowKind {
    /// Each begins where the one before ends, by the server's clock.
    Tiled,
    /// It begins with the first request after the last one ended.
    FirstRequest,
    /// The last so many seconds, whenever one looks.
    Sliding,
}

/// How the server says when the window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    Seconds,
    Milliseconds,
    Delta,
    /// There are no rate headers at all.
    Nothing,
}

/// When a sync dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    Never,
    /// At this request, before the server has seen it.
    BeforeRequest(u32),
    /// At this request, when the server has answered and nothing of the answer is stored.
    AfterRequest(u32),
    /// When the clock is read for this time: between two transactions, between the last page and the journal, …
    AtClockReading(u32),
    /// It is asked to stop at this request, as by Ctrl-C.
    Cancelled(u32),
}

/// How the lists change at each request.
#[derive(Clone, Debug)]
pub(crate) struct Churn {
    /// Changes per hundred requests.
    pub(crate) per_hundred: u32,
    /// How often each kind is drawn, relative to the others: a new row at the growing end, …
    pub(crate) inserts: u32,
    /// … a row that turns up in the middle, dated as its neighbour, …
    pub(crate) backdated: u32,
    pub(crate) deletes_at_head: u32,
    pub(crate) deletes_at_tail: u32,
    pub(crate) deletes_anywhere: u32,
    /// … new content and `updated_at`, …
    pub(crate) touches: u32,
    /// … a deleted row that is there again.
    pub(crate) returns: u32,
}

/// What a list may do that one does not expect of it.
#[derive(Clone, Debug)]
pub(crate) struct Oddities {
    /// Pages are shorter than they could be by up to so many rows, another number each time.
    pub(crate) wavers: u32,
    /// From this request of the whole life on (0: never) …
    pub(crate) falls_at: u32,
    /// … pages have at most so many rows.
    pub(crate) falls_to: u32,
    /// One contact in so many (0: none) takes a place in its list and is not shown.
    pub(crate) hides: u32,
    /// One row in so many (0: none) is so large that no page holds it with one before it.
    pub(crate) large: u32,
    /// Totals are stated up to this (0: all of them).
    pub(crate) caps: u32,
    /// Dates are ahead of the server's clock by so many seconds.
    pub(crate) ahead: u32,
    /// At this request of the whole life (0: never) …
    pub(crate) purge_at: u32,
    /// … so many rows at the head of the list it looks at are deleted.
    pub(crate) purged: u32,
}

/// What goes wrong, per thousand requests.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) server_errors: u32,
    pub(crate) resets: u32,
    pub(crate) truncated: u32,
    pub(crate) timeouts: u32,
    /// An HTML page with status 200.
    pub(crate) html: u32,
    /// 429 although the window has room.
    pub(crate) refusals: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Rate {
    pub(crate) kind: WindowKind,
    pub(crate) limit: u32,
    pub(crate) window_seconds: u32,
    pub(crate) reset: Reset,
    /// Whether answers carry `Date`.
    pub(crate) date: bool,
    /// Whether a refusal says when to come back.
    pub(crate) retry_after: bool,
    /// The server's clock minus ours, in seconds.
    pub(crate) skew: i64,
    /// At this request of the whole life (0: never) …
    pub(crate) jump_at: u32,
    /// … the server's clock is set by so many seconds, …
    pub(crate) server_jump: i64,
    /// … and our own wall clock by so many.
    pub(crate) wall_jump: i64,
}

/// One life of an account: a first sync with deaths, syncs of either kind while everything changes, then rest.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "separate facts: none of them follows from or excludes another"
)]
pub(crate) struct Scenario {
    /// What the figures leave open (which row is deleted, …) is drawn from it.
    pub(crate) seed: u64,
    pub(crate) database: Database,
    pub(crate) order: Order,
    pub(crate) contacts: u32,
    pub(crate) conversations: u32,
    /// At most so many messages a conversation.
    pub(crate) messages: u32,
    pub(crate) messages_newest_first: bool,
    /// Rows asked for in one request.
    pub(crate) page_size: u32,
    /// The most that the server returns, whatever is asked for; 0: what is asked for.
    pub(crate) clamp: u32,
    pub(crate) envelope: Envelope,
    pub(crate) total: Figure,
    pub(crate) has_more: Figure,
    pub(crate) dates: Dates,
    pub(crate) stamp: Stamp,
    /// What a deleted conversation is answered with: 410 rather than 404.
    pub(crate) gone: bool,
    pub(crate) churn: Churn,
    pub(crate) oddities: Oddities,
    pub(crate) faults: Faults,
    pub(crate) faults_at_rest: bool,
    pub(crate) rate: Rate,
    /// How long a request takes at most.
    pub(crate) latency_ms: u32,
    /// How the first syncs end, one after the other; then one is left alone.
    pub(crate) first_kills: [Kill; 4],
    /// How many syncs of what is new follow, …
    pub(crate) incrementals: u32,
    /// … how many full ones, among them, …
    pub(crate) fulls: u32,
    /// … and how the first of these end.
    pub(crate) later_kills: [Kill; 3],
    /// Whether the warehouse is opened anew after a death.
    pub(crate) reopen: bool,
    pub(crate) concurrency: usize,
}

/// The smallest pages that are drawn: pages of one row cannot overlap, and nothing read through them can be proven.
const SMALLEST_PAGE: u32 = 2;

impl Scenario {
    /// What `seed` stands for.
    pub(crate) fn draw(seed: u64, order: Order, database: Database) -> Self {
        let random = &mut Random::new(seed, 1 + order as u64);
        let page_size = random.pick(&[SMALLEST_PAGE, 3, 5, 7, 10, 10, 15, 20, 20, 30, 50]);
        let clamp = if random.chance(25) {
            random.between(SMALLEST_PAGE.max(page_size / 3), page_size)
        } else {
            0
        };
        let effective = if clamp > 0 { clamp } else { page_size };
        // Pages of one or two rows would make a run of hundreds of requests.
        let most = if effective < 5 { 24 } else { 120 };
        let rows = |random: &mut Random, most: u32| match random.below(10) {
            0 => random.below(4),
            1..=3 => random.below(most / 4 + 1),
            _ => random.between(most / 4, most),
        };
        let mut oddities = Oddities::draw(&mut Random::new(seed, 11 + order as u64), effective);
        oddities.draw_what_hides_rows(&mut Random::new(seed, 31 + order as u64), effective);
        let total = random.pick(&[Figure::Absent, Figure::Beside, Figure::Meta]);
        if total != Figure::Absent {
            // More than is shown: whoever says so is believed, and nothing is proven.
            oddities.hides = 0;
        }
        Self {
            seed,
            database,
            order,
            contacts: rows(random, most),
            conversations: rows(random, most / 10),
            messages: random.pick(&[0, 1, 3, 6, 6, 12, effective.min(20) + 2]),
            messages_newest_first: random.chance(30),
            page_size,
            clamp,
            envelope: random.pick(&[
                Envelope::Bare,
                Envelope::Data,
                Envelope::Items,
                Envelope::Resource,
                Envelope::Nested,
            ]),
            total,
            has_more: random.pick(&[Figure::Absent, Figure::Absent, Figure::Beside, Figure::Meta]),
            // Rows that move without a date to show it are beyond what anybody can prove.
            dates: match random.below(10) {
                _ if order.is_by_change() => Dates::Both,
                0..=6 => Dates::Both,
                7..=8 => Dates::Created,
                _ => Dates::Neither,
            },
            stamp: random.pick(&[
                Stamp::Rfc3339,
                Stamp::Rfc3339,
                Stamp::Spaced,
                Stamp::UnixSeconds,
                Stamp::UnixMilliseconds,
            ]),
            gone: random.chance(30),
            churn: Churn::draw(random, oddities.least_page(effective)),
            oddities,
            faults: Faults::draw(random),
            faults_at_rest: random.chance(50),
            rate: Rate::draw(random),
            latency_ms: random.pick(&[2, 20, 100, 400, 2000]),
            first_kills: std::array::from_fn(|_| Kill::draw(random, 35)),
            incrementals: random.below(3),
            fulls: random.pick(&[0, 1, 1, 2]),
            later_kills: std::array::from_fn(|_| Kill::draw(random, 35)),
            reopen: random.chance(20),
            concurrency: random.pick(&[1, 1, 2, 4, 8]),
        }
    }
}

impl Scenario {
    /// Pages of one row share none with the next, nor do those between which a large one begins: they are read, and prove nothing,
    /// not even that a row is gone. Nor does a list with more rows than its total says.
    pub(crate) const fn is_provable(&self) -> bool {
        self.clamp != 1 && self.oddities.large == 0 && self.oddities.caps == 0
    }

    /// What a run that reads the growing end alone finds, where one knows that everything else is in the mirror: nothing
    /// new may have turned up elsewhere.
    pub(crate) const fn promise_of_the_growing_end(&self) -> Option<Promise> {
        if self.churn.backdated > 0 || self.churn.returns > 0 {
            return None;
        }
        // A page that is cut to a few rows says little of those behind.
        let Oddities {
            wavers,
            falls_at,
            large,
            ..
        } = self.oddities;
        if wavers > 0 || falls_at > 0 || large > 0 {
            return None;
        }
        match self.order {
            Order::CreatedDesc | Order::CreatedAsc => Some(Promise::There),
            Order::UpdatedDesc | Order::UpdatedAsc => Some(Promise::Current),
            Order::UnknownStable | Order::UpdatedNullsFirst | Order::UpdatedNullsLast => None,
        }
    }
}

impl Churn {
    fn draw(random: &mut Random, effective: u32) -> Self {
        // Up to a fifth of a page changes at every request: more is faster than anybody can read.
        let most = effective * 20;
        let weight = |random: &mut Random| random.pick(&[0, 0, 1, 2, 4]);
        let mut churn = Self {
            per_hundred: match random.below(10) {
                0 => 0,
                1..=3 => random.between(5.min(most), 40.min(most)),
                _ => random.between(most / 4, most),
            },
            inserts: weight(random),
            backdated: random.pick(&[0, 0, 0, 1]),
            deletes_at_head: weight(random),
            deletes_at_tail: weight(random),
            deletes_anywhere: weight(random),
            touches: weight(random),
            returns: random.pick(&[0, 0, 0, 1]),
        };
        let deletes = churn.deletes_at_head + churn.deletes_at_tail + churn.deletes_anywhere;
        // Mostly a list that lasts.
        if deletes > churn.inserts && random.chance(70) {
            churn.inserts = deletes;
        }
        churn
    }
}

impl Oddities {
    pub(crate) const NONE: Self = Self {
        wavers: 0,
        falls_at: 0,
        falls_to: 0,
        hides: 0,
        large: 0,
        caps: 0,
        ahead: 0,
        purge_at: 0,
        purged: 0,
    };

    /// The rows that a page has at least where there are more, of `effective` that others have.
    fn least_page(&self, effective: u32) -> u32 {
        let fallen = if self.falls_at > 0 { self.falls_to } else { effective };
        fallen.min(effective) - self.wavers
    }

    fn draw(random: &mut Random, effective: u32) -> Self {
        let mut oddities = Self::NONE;
        if random.chance(60) {
            return oddities;
        }
        if random.chance(40) {
            oddities.wavers = random.below(effective / 3 + 1);
        }
        if random.chance(30) {
            oddities.falls_at = random.between(1, random.clone().pick(&[5, 20, 100]));
            oddities.falls_to = random.between(SMALLEST_PAGE, effective);
            // Pages of two rows or less that waver are of one.
            oddities.wavers = oddities.wavers.min(oddities.falls_to - SMALLEST_PAGE);
        }
        oddities.wavers = oddities.wavers.min(effective.saturating_sub(SMALLEST_PAGE));
        let least = effective.min(if oddities.falls_at > 0 {
            oddities.falls_to
        } else {
            effective
        }) - oddities.wavers;
        // Where as many in a row are hidden as a page has, nothing can be proven.
        if random.chance(40) && least >= 10 {
            oddities.hides = random.pick(&[4, 7, 15]);
        }
        if random.chance(20) {
            oddities.ahead = random.pick(&[30, 86_400]);
        }
        if random.chance(30) {
            oddities.purge_at = random.between(1, 60);
            oddities.purged = random.between(1, 60);
        }
        oddities
    }

    /// With nothing else that hides rows: of a page that is cut where the total ends as well nobody can tell that it is not the last.
    fn draw_what_hides_rows(&mut self, random: &mut Random, effective: u32) {
        if self.hides > 0 || random.chance(80) {
            return;
        }
        if random.chance(50) {
            self.large = random.pick(&[7, 20, 60]);
        } else {
            self.caps = effective * random.pick(&[1, 1, 2, 3]);
        }
    }
}

impl Faults {
    fn draw(random: &mut Random) -> Self {
        if random.chance(40) {
            return Self::none();
        }
        let most = random.pick(&[10, 30, 80]);
        let one = |random: &mut Random| if random.chance(40) { random.below(most) } else { 0 };
        Self {
            server_errors: one(random),
            resets: one(random),
            truncated: one(random),
            timeouts: one(random),
            html: one(random),
            refusals: one(random),
        }
    }

    pub(crate) const fn none() -> Self {
        Self {
            server_errors: 0,
            resets: 0,
            truncated: 0,
            timeouts: 0,
            html: 0,
            refusals: 0,
        }
    }
}

impl Rate {
    fn draw(random: &mut Random) -> Self {
        let reset = random.pick(&[
            Reset::Seconds,
            Reset::Seconds,
            Reset::Milliseconds,
            Reset::Delta,
            Reset::Nothing,
        ]);
        // Who is told nothing assumes the lowest limit of the guide: 100 a minute.
        let (limit, window_seconds) = if reset == Reset::Nothing {
            (100, 60)
        } else {
            let window = random.pick(&[5, 10, 15, 30, 60, 60]);
            (random.pick(&[5, 20, 60, 100, 300, 1000]), window)
        };
        let skewed = random.chance(30);
        let jumps = random.chance(15);
        let jump = |random: &mut Random| i64::from(random.below(600)) - 300;
        Self {
            kind: random.pick(&[WindowKind::Tiled, WindowKind::FirstRequest, WindowKind::Sliding]),
            limit,
            window_seconds,
            reset,
            date: random.chance(75),
            retry_after: random.chance(50),
            skew: if skewed { jump(random) } else { 0 },
            jump_at: if jumps { random.between(1, 200) } else { 0 },
            server_jump: if jumps && random.chance(60) { jump(random) } else { 0 },
            wall_jump: if jumps && random.chance(60) { jump(random) } else { 0 },
        }
    }

    /// How many refusals in a run cannot be foreseen. None where the end of a window is stated, on a clock that is known;
    /// of a log that slides nobody states when there is room again.
    pub(crate) fn unforeseeable(&self) -> u32 {
        let clock_known = self.date || self.skew == 0 || self.reset == Reset::Delta;
        if self.jump_at > 0 && !self.date && self.reset != Reset::Delta {
            // An end on a clock that was just set, and nobody to tell: it asks until it is let through.
            return 20;
        }
        let told = self.reset != Reset::Nothing && clock_known && self.jump_at == 0;
        match (told, self.kind) {
            // Nobody says when there is room in a log that slides: it is tried after a second, two, four, …
            (_, WindowKind::Sliding) if !self.retry_after => 6,
            (true, WindowKind::Tiled) => 0,
            // Two of its ends, rounded to seconds, may be as far apart as those of tiles: once.
            (true, WindowKind::FirstRequest) => 1,
            (false, WindowKind::Sliding) if self.jump_at > 0 => 4,
            // The window that was, and what its end is taken for on each of two clocks that are set.
            (false, _) if self.jump_at > 0 => 3,
            _ => 2,
        }
    }
}

impl Kill {
    fn draw(random: &mut Random, percent: u32) -> Self {
        if !random.chance(percent) {
            return Self::Never;
        }
        let at = random.between(1, random.clone().pick(&[4, 15, 40]));
        match random.below(10) {
            0..=2 => Self::BeforeRequest(at),
            3..=5 => Self::AfterRequest(at),
            6..=8 => Self::AtClockReading(random.between(1, at * 12)),
            _ => Self::Cancelled(at),
        }
    }
}
