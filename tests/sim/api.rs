//! The API in process: answers requests about the account, changes it at each of them, fails, refuses, and lets the run
//! die where the scenario says.

mod answer;

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allai_sync::allai::{Transport, TransportError};
use allai_sync::clock::Clock as _;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use self::answer::Asked;
use crate::clock::{Killed, SimClock, Stuck};
use crate::limits::Limits;
use crate::model::Account;
use crate::random::Random;
use crate::scenario::{Faults, Kill, Oddities, Scenario};

/// Requests after which a run is taken to have no end. Thousands of conversations that came and went cost two each.
const MOST_REQUESTS: u32 = 30_000;

#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    clock: SimClock,
}

/// What becomes of the log of what is asked and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    Off,
    Kept,
    /// On standard output, as it happens.
    Shown,
}

/// What happened since the counts were last taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u32,
    /// 429 because the window was spent, …
    pub(crate) over_limit: u32,
    /// … of these, those of a client that had heard nothing yet, …
    pub(crate) unforeseeable: u32,
    /// … and 429 for no reason.
    pub(crate) spurious: u32,
    /// Requests without a proper answer.
    pub(crate) faults: u32,
}

pub(crate) struct State {
    pub(crate) account: Account,
    pub(crate) scenario: Scenario,
    pub(crate) counts: Counts,
    pub(crate) at_rest: bool,
    log: Log,
    /// What was asked and answered, if it is kept.
    pub(crate) lines: Vec<String>,
    limits: Limits,
    random: Random,
    kill: Kill,
    cancel: CancellationToken,
    /// Requests of this sync, …
    asked: u32,
    /// … and of the whole life.
    served: u32,
    /// Whether this client has had an answer with what the rate limit is.
    told: bool,
}

/// What a request comes to, apart from its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ServerError,
    Reset,
    Truncated,
    Timeout,
    Html,
    Refusal,
}

impl Api {
    pub(crate) fn new(scenario: &Scenario, clock: &SimClock, log: Log) -> Self {
        let now = clock.true_millis() / 1000 + scenario.rate.skew + i64::from(scenario.oddities.ahead);
        Self {
            state: Arc::new(Mutex::new(State {
                account: Account::new(scenario, now),
                counts: Counts::default(),
                at_rest: false,
                log,
                lines: Vec::new(),
                limits: Limits::new(scenario.rate.clone()),
                random: Random::new(scenario.seed, 200),
                kill: Kill::Never,
                cancel: CancellationToken::new(),
                asked: 0,
                served: 0,
                told: false,
                scenario: scenario.clone(),
            })),
            clock: clock.clone(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sync begins, which is to end like this.
    pub(crate) fn begin(&self, kill: Kill, cancel: &CancellationToken) {
        let mut state = self.lock();
        state.kill = kill;
        state.cancel = cancel.clone();
        state.asked = 0;
        drop(state);
        self.clock.die_at(match kill {
            Kill::AtClockReading(reading) => Some(reading),
            _ => None,
        });
    }

    /// From now on nothing changes.
    pub(crate) fn rest(&self) {
        let mut state = self.lock();
        state.at_rest = true;
        state.note(|| "-- rest".to_owned());
    }

    /// A new client, which knows nothing of the rate limit.
    pub(crate) fn forget_client(&self) {
        self.lock().told = false;
    }

    pub(crate) fn transport(&self) -> Transport {
        let api = self.clone();
        Transport::InProcess(Arc::new(move |request| {
            let api = api.clone();
            Box::pin(async move { api.exchange(request).await })
        }))
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let (there, back) = self.lock().travel();
        if there > Duration::ZERO {
            self.clock.sleep(there).await;
        }
        let arrival = self.arrive(&request);
        match arrival {
            Arrival::Answered(response) => {
                if back > Duration::ZERO {
                    self.clock.sleep(back).await;
                }
                Ok(response)
            }
            Arrival::Lost(error, after) => {
                self.clock.sleep(after).await;
                Err(error)
            }
            Arrival::Killed => resume_unwind(Box::new(Killed)),
            Arrival::Endless => resume_unwind(Box::new(Stuck("it asks and asks"))),
        }
    }

    fn arrive(&self, request: &Request<Bytes>) -> Arrival {
        let (now, millis) = (self.clock.elapsed(), self.clock.true_millis());
        self.clock.note_request();
        let state = &mut *self.lock();
        state.served += 1;
        state.asked += 1;
        state.counts.requests += 1;
        if state.counts.requests > MOST_REQUESTS {
            return Arrival::Endless;
        }
        if state.served == state.scenario.rate.jump_at {
            state.limits.jumped = state.scenario.rate.server_jump;
            self.clock.jump(state.scenario.rate.wall_jump);
        }
        let number = state.asked;
        match state.kill {
            Kill::BeforeRequest(at) if at == number => return Arrival::Killed,
            Kill::Cancelled(at) if at == number => state.cancel.cancel(),
            _ => {}
        }
        let arrival = state.serve(request, now, millis);
        match state.kill {
            Kill::AfterRequest(at) if at == number => Arrival::Killed,
            _ => arrival,
        }
    }
}

/// What becomes of a request.
enum Arrival {
    Answered(Response<Bytes>),
    /// The client learns nothing, but after so long.
    Lost(TransportError, Duration),
    Killed,
    Endless,
}

impl State {
    /// How long a request takes to get there and back.
    fn travel(&mut self) -> (Duration, Duration) {
        let most = self.scenario.latency_ms / 2;
        let mut way = || Duration::from_millis(u64::from(self.random.below(most + 1)));
        (way(), way())
    }

    fn serve(&mut self, request: &Request<Bytes>, now: Duration, millis: i64) -> Arrival {
        let asked = Asked::parse(request.uri());
        let server_now = millis / 1000 + self.scenario.rate.skew;
        if !self.at_rest
            && let Some(place) = asked.place(&self.account)
        {
            let dated = server_now + i64::from(self.scenario.oddities.ahead);
            self.account.change(&self.scenario.churn, place, dated);
            if self.served == self.scenario.oddities.purge_at {
                self.account.purge(place, self.scenario.oddities.purged);
            }
        }
        let page = self.page_size();
        let fault = self.fault();
        // A gateway that is down, or a network, may keep a request from being counted.
        let reached = fault.is_none_or(|_| self.random.chance(50));
        let ruling = reached.then(|| self.limits.take(now, millis));
        let headers = ruling.as_ref().map(|ruling| ruling.headers.clone()).unwrap_or_default();
        let refused = ruling.is_some_and(|ruling| !ruling.allowed);
        if fault.is_some() {
            self.counts.faults += 1;
        }
        let lost = |error| Arrival::Lost(error, Duration::ZERO);
        let answer = match fault {
            Some(Fault::Reset) => lost(TransportError::Interrupted("reset by peer".to_owned())),
            Some(Fault::Timeout) => Arrival::Lost(TransportError::Timeout, Duration::from_secs(30)),
            _ if refused => {
                self.counts.over_limit += 1;
                self.counts.unforeseeable += u32::from(!self.told);
                answered(StatusCode::TOO_MANY_REQUESTS, headers, "{\"error\":\"rate limit\"}")
            }
            Some(Fault::Refusal) => {
                self.counts.spurious += 1;
                answered(StatusCode::TOO_MANY_REQUESTS, HeaderMap::new(), "{}")
            }
            Some(Fault::ServerError) => {
                let status = self.random.pick(&[500, 502, 503]);
                let status = StatusCode::from_u16(status).unwrap();
                answered(status, headers, "{\"error\":\"internal\"}")
            }
            Some(Fault::Html) => answered(StatusCode::OK, headers, "<html><body>Back soon</body></html>"),
            Some(Fault::Truncated) => {
                let (_, body) = asked.answer(&self.account, &self.scenario, page);
                let cut = self.random.index(body.len().max(1));
                let cut = (0..=cut).rev().find(|at| body.is_char_boundary(*at)).unwrap_or(0);
                answered(StatusCode::OK, headers, &body[..cut])
            }
            None => {
                self.told = true;
                let (status, body) = asked.answer(&self.account, &self.scenario, page);
                answered(status, headers, &body)
            }
        };
        self.write_log(request, &answer, millis);
        answer
    }

    /// The most rows that a page may have at this request.
    fn page_size(&mut self) -> usize {
        let Oddities {
            wavers,
            falls_at,
            falls_to,
            ..
        } = self.scenario.oddities;
        let mut most = match self.scenario.clamp {
            0 => self.scenario.page_size,
            clamp => clamp,
        };
        if falls_at > 0 && self.served >= falls_at {
            most = most.min(falls_to);
        }
        let fewer = if wavers > 0 { self.random.below(wavers + 1) } else { 0 };
        most.saturating_sub(fewer).max(1) as usize
    }

    fn fault(&mut self) -> Option<Fault> {
        if self.at_rest && !self.scenario.faults_at_rest {
            return None;
        }
        let Faults {
            server_errors,
            resets,
            truncated,
            timeouts,
            html,
            refusals,
        } = self.scenario.faults;
        let none = 1000 - (server_errors + resets + truncated + timeouts + html + refusals).min(1000);
        self.random
            .weighted(&[
                (None, none),
                (Some(Fault::ServerError), server_errors),
                (Some(Fault::Reset), resets),
                (Some(Fault::Truncated), truncated),
                (Some(Fault::Timeout), timeouts),
                (Some(Fault::Html), html),
                (Some(Fault::Refusal), refusals),
            ])
            .flatten()
    }

    fn write_log(&mut self, request: &Request<Bytes>, answer: &Arrival, millis: i64) {
        if self.log == Log::Off {
            return;
        }
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let said = match answer {
            Arrival::Answered(response) => {
                let ids = answer::ids(response.body());
                let remaining = response
                    .headers()
                    .get("x-ratelimit-remaining")
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("-");
                format!("{} left {remaining}: {ids}", response.status().as_u16())
            }
            Arrival::Lost(error, _) => error.to_string(),
            Arrival::Killed | Arrival::Endless => String::new(),
        };
        let number = self.served;
        self.note(|| format!("{number} {millis} {path} {said}"));
    }

    /// Notes something in the log that is no request.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        match self.log {
            Log::Off => {}
            Log::Kept => self.lines.push(what()),
            Log::Shown => println!("{}", what()),
        }
    }
}

fn answered(status: StatusCode, headers: HeaderMap, body: &str) -> Arrival {
    let mut response = Response::new(Bytes::copy_from_slice(body.as_bytes()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Arrival::Answered(response)
}
