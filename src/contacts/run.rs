//! One run: the CRM's changes first, then the contacts, a few at a time.

use std::collections::{BTreeSet, VecDeque};

use allai_connectors::Crm;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::found::{Found, ToWrite, Trouble, as_text};
use super::merge::{Synced, is_news};
use super::report::{Planned, Report, Status};
use super::writing::Written;
use super::{ContactSync, Options};
use crate::allai::Resource;
use crate::metrics;
use crate::schedule::Holder;
use crate::warehouse::{Candidate, ClaimedBridge, Link, LinkStatus, LinkedRecord, Wanted};

/// Contacts that are read from the mirror at a time.
const PAGE: i64 = 200;
/// Contacts that are asked for and written side by side; the connector's own ceiling decides how fast.
const SIDE_BY_SIDE: usize = 8;
/// So many contacts in a row that do not go through mean that a system is away; fewer may be the contacts' own fault.
const PATIENCE: u32 = 16;
/// At most so much is told of what a dry run would do.
const TOLD: usize = 1_000;

/// A run under way.
struct Run<'a> {
    sync: &'a ContactSync,
    crm: &'a dyn Crm,
    options: Options,
    cancelled: &'a CancellationToken,
    report: Report,
    in_vain: u32,
    /// Why the last contact was put off.
    put_off: Option<String>,
}

/// Why a run ended early.
enum Ended {
    Cancelled,
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

impl ContactSync {
    /// Runs once. What goes wrong is part of the report; the next run goes on from there.
    pub async fn run(&self, options: Options, cancelled: &CancellationToken) -> Report {
        let started = self.clock.monotonic();
        let mut report = Report {
            name: self.name.clone(),
            account: self.bridge.account.clone(),
            connector: self.bridge.connector.clone(),
            entity: self.bridge.entity.clone(),
            dry_run: options.dry_run,
            ..Report::default()
        };
        let ended = match self.connector.crm() {
            None => Err(Ended::Failed(format!("connectors.{} is no CRM", self.bridge.connector))),
            Some(crm) => {
                let mut run = Run {
                    sync: self,
                    crm,
                    options,
                    cancelled,
                    report,
                    in_vain: 0,
                    put_off: None,
                };
                let ended = run.all().await;
                report = run.report;
                report.error = run.put_off;
                ended
            }
        };
        match ended {
            Ok(()) if report.put_off > 0 => report.status = Status::Incomplete,
            Ok(()) => {}
            Err(Ended::Cancelled) => {
                report.status = Status::Incomplete;
                report.error = Some("interrupted; the next run goes on from here".to_owned());
            }
            Err(Ended::Failed(error)) => {
                report.status = Status::Failed;
                report.error = Some(error);
            }
        }
        report.seconds = self.clock.monotonic().saturating_sub(started).as_secs_f64();
        if !options.dry_run {
            let is_complete = report.status == Status::Complete;
            let finished = self
                .warehouse
                .finish_bridge(&self.bridge, self.holder.as_str(), &as_text(&report), is_complete)
                .await;
            if let Err(error) = finished {
                report.status = Status::Failed;
                report.error.get_or_insert_with(|| error.to_string());
            }
        }
        log(&report);
        if !options.dry_run {
            metrics::contacts_synced(&report.account, &report.connector, report.status.as_str());
            match self.warehouse.troubled_contacts(&self.bridge.account).await {
                Ok(troubled) => metrics::contacts_held(&self.bridge.account, troubled.len()),
                Err(error) => tracing::debug!(%error, "it is not known how many contacts are held"),
            }
        }
        report
    }
}

fn log(report: &Report) {
    let (name, account) = (report.name.as_str(), report.account.as_str());
    if let Some(error) = &report.error {
        tracing::error!(
            contacts.sync = name,
            sync.account = account,
            "contacts are not all synced: {error}"
        );
        return;
    }
    tracing::info!(
        contacts.sync = name,
        sync.account = account,
        contacts.created = report.created,
        contacts.updated = report.updated,
        contacts.written_back = report.written_back,
        contacts.held = report.held,
        contacts.conflicts = report.conflicts,
        sync.seconds = report.seconds,
        "contacts synced"
    );
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), Ended> {
        let (sync, backfill) = (self.sync, self.options.backfill);
        let state = sync.warehouse.state(&sync.bridge.account, Resource::Contacts).await?;
        if state.is_none_or(|state| state.last_complete_at.is_none()) {
            let account = &sync.bridge.account;
            return Err(Ended::Failed(format!(
                "the contacts of account {account} are not mirrored completely yet: run `allai-sync sync contacts --account {account}`"
            )));
        }
        let (cursor, is_begun) = if self.options.dry_run {
            let state = sync.warehouse.bridge(&sync.bridge).await?;
            state.map_or((None, false), |state| (state.cursor, state.begun_at.is_some()))
        } else {
            let claimed = sync
                .warehouse
                .claim_bridge(&sync.bridge, sync.holder.as_str(), Holder::is_dead)
                .await?;
            match claimed {
                ClaimedBridge::Yes(state) => (state.cursor, state.begun_at.is_some()),
                ClaimedBridge::By(other) => {
                    return Err(Ended::Failed(format!(
                        "{other} is syncing these contacts just now; try again later"
                    )));
                }
            }
        };
        if !is_begun && !self.options.dry_run {
            let holder = sync.holder.as_str();
            sync.warehouse.begin_bridge(&sync.bridge, holder, backfill).await?;
        }
        let mut noted = BTreeSet::new();
        if sync.mapping.reads_records() {
            self.read_changes(cursor, &mut noted).await?;
        }
        if is_begun || backfill || !self.options.dry_run {
            self.contacts().await?;
        }
        // In a dry run, what has changed in the CRM is noted nowhere else.
        for contact_id in noted {
            if let Some(mut candidate) = sync.warehouse.crm_candidate(&sync.bridge, &contact_id).await? {
                if let Some(link) = &mut candidate.link {
                    link.dirty = true;
                }
                self.wave(vec![candidate]).await?;
            }
        }
        Ok(())
    }

    /// Reads what has changed in the CRM, and notes which contacts that concerns.
    async fn read_changes(&mut self, mut cursor: Option<String>, noted: &mut BTreeSet<String>) -> Result<(), Ended> {
        let sync = self.sync;
        loop {
            if self.cancelled.is_cancelled() {
                return Err(Ended::Cancelled);
            }
            let changes = self.crm.changes_since(sync.entity, cursor.as_deref()).await?;
            self.report.changes_read += changes.records.len() as u64;
            let ids: Vec<&str> = changes.records.iter().map(|record| record.id.as_str()).collect();
            let links = sync.warehouse.linked_records(&sync.bridge, &ids).await?;
            let is_news = |link: &&LinkedRecord| {
                let synced: Synced = link
                    .synced
                    .as_deref()
                    .and_then(|text| serde_json::from_str(text).ok())
                    .unwrap_or_default();
                let mut records = changes.records.iter().filter(|record| record.id == link.crm_id);
                // What cannot be rendered is told when the contact is looked at.
                records.any(|record| is_news(&sync.mapping, &record.fields, &synced).unwrap_or(true))
            };
            let concerned: Vec<&str> = links
                .iter()
                .filter(is_news)
                .map(|link| link.contact_id.as_str())
                .collect();
            if self.options.dry_run {
                noted.extend(concerned.into_iter().map(str::to_owned));
            } else if !concerned.is_empty() || cursor.as_deref() != Some(changes.cursor.as_str()) {
                let holder = sync.holder.as_str();
                sync.warehouse
                    .note_changes(&sync.bridge, holder, &concerned, &changes.cursor)
                    .await?;
            }
            cursor = Some(changes.cursor);
            if !changes.more {
                return Ok(());
            }
        }
    }

    /// Looks at all contacts that are to be looked at.
    async fn contacts(&mut self) -> Result<(), Ended> {
        let sync = self.sync;
        let mut after = String::new();
        loop {
            let wanted = Wanted {
                after: &after,
                mapping_hash: sync.mapping.hash(),
                backfill: self.options.backfill,
                most: PAGE,
            };
            let page = sync.warehouse.crm_candidates(&sync.bridge, wanted).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.id);
            let mut open = VecDeque::from(page);
            while !open.is_empty() {
                let wave = self.next_wave(&mut open);
                self.wave(wave).await?;
            }
        }
    }

    /// The next contacts that can be looked at side by side: no two of them are known by the same.
    fn next_wave(&self, open: &mut VecDeque<Candidate>) -> Vec<Candidate> {
        let mut wave: Vec<Candidate> = Vec::new();
        let mut keys = Vec::new();
        let mut later = VecDeque::new();
        while let Some(candidate) = open.pop_front() {
            let own = self.sync.keys_of(&candidate);
            if wave.len() == SIDE_BY_SIDE || keys.iter().any(|other| own.overlap(other)) {
                later.push_back(candidate);
            } else {
                keys.push(own);
                wave.push(candidate);
            }
            if wave.len() == SIDE_BY_SIDE {
                break;
            }
        }
        later.append(open);
        *open = later;
        wave
    }

    async fn wave(&mut self, wave: Vec<Candidate>) -> Result<(), Ended> {
        let (sync, crm, cancelled) = (self.sync, self.crm, self.cancelled);
        if cancelled.is_cancelled() {
            return Err(Ended::Cancelled);
        }
        self.report.looked_at += wave.len() as u64;
        let looks = wave.into_iter().map(|candidate| sync.look(crm, candidate, cancelled));
        let (mut links, mut released, mut work) = (Vec::new(), Vec::new(), Vec::<ToWrite>::new());
        let mut taken = BTreeSet::new();
        let mut stopped = None;
        for found in join_all(looks).await {
            match found {
                Ok(Found::Settled(link)) => {
                    self.report.skipped += u64::from(link.status == LinkStatus::Skipped);
                    self.in_vain = 0;
                    links.push(*link);
                }
                // One record is nobody else's in the same breath; the other is looked at by the next run.
                Ok(Found::Matched(link, gone)) => {
                    self.in_vain = 0;
                    if link.crm_id.clone().is_none_or(|id| taken.insert(id)) {
                        self.report.matched += 1;
                        released.extend(gone);
                        links.push(*link);
                    } else {
                        self.report.put_off += 1;
                    }
                }
                Ok(Found::ToWrite(found)) => {
                    self.in_vain = 0;
                    if found.crm_id.clone().is_none_or(|id| taken.insert(id)) {
                        work.push(*found);
                    } else {
                        self.report.put_off += 1;
                    }
                }
                Err((candidate, trouble)) => {
                    let link = self.note_trouble(&trouble, &mut stopped).map(|(status, reason)| {
                        self.plan(&candidate.id, None, Some(&reason));
                        sync.refused(&candidate, status, reason)
                    });
                    links.extend(link);
                }
            }
        }
        if self.options.dry_run {
            for work in &work {
                self.plan(&work.candidate.id, Some(work), None);
            }
            return stopped.map_or(Ok(()), |reason| Err(Ended::Failed(reason)));
        }
        if stopped.is_some() {
            work.clear();
        }
        released.extend(work.iter().filter_map(|work| work.released.clone()));
        links.extend(work.iter().map(|work| sync.intended(work)));
        let holder = sync.holder.as_str();
        sync.warehouse
            .save_links(&sync.bridge, holder, &links, &released)
            .await?;

        let writes = work.iter().map(|work| sync.write(crm, work, cancelled));
        let mut links = Vec::new();
        for (written, work) in join_all(writes).await.into_iter().zip(&work) {
            self.count(&written, work);
            if let Some(trouble) = &written.trouble {
                self.note_trouble(trouble, &mut stopped);
            } else {
                self.in_vain = 0;
            }
            links.push(self.unless_owned(written.link, work).await?);
        }
        sync.warehouse.save_links(&sync.bridge, holder, &links, &[]).await?;
        stopped.map_or(Ok(()), |reason| Err(Ended::Failed(reason)))
    }

    /// A link, if nobody else has the record: a CRM may find what it is asked to create in a way of its own.
    async fn unless_owned(&mut self, link: Link, work: &ToWrite) -> Result<Link, Ended> {
        let Some(crm_id) = link.crm_id.as_deref().filter(|id| work.crm_id.as_deref() != Some(id)) else {
            return Ok(link);
        };
        let owner = self.sync.warehouse.owner_of(&self.sync.bridge, crm_id).await?;
        let Some(other) = owner.filter(|other| other.contact_id != link.contact_id) else {
            return Ok(link);
        };
        self.report.conflicts += 1;
        let reason = format!(
            "the CRM takes it for its record {crm_id}, which is contact {}",
            other.contact_id
        );
        Ok(Link {
            intent: None,
            crm_id: None,
            ..self.sync.refused(&work.candidate, LinkStatus::Conflict, reason)
        })
    }

    fn count(&mut self, written: &Written, work: &ToWrite) {
        self.report.created += u64::from(written.created);
        self.report.updated += u64::from(written.updated);
        self.report.written_back += u64::from(written.came_back);
        self.report.matched += u64::from(work.is_new && work.crm_id.is_some());
    }

    /// Counts what went wrong, and says how a contact stands with that; `None` if nothing is to be kept of it.
    fn note_trouble(&mut self, trouble: &Trouble, stopped: &mut Option<String>) -> Option<(LinkStatus, String)> {
        match trouble {
            Trouble::Stop(reason) => {
                self.report.put_off += 1;
                stopped.get_or_insert_with(|| reason.clone());
                None
            }
            Trouble::PutOff(reason) => {
                self.report.put_off += 1;
                self.in_vain += 1;
                self.put_off = Some(format!("contacts are put off, the last one because: {reason}"));
                if self.in_vain >= PATIENCE {
                    stopped.get_or_insert_with(|| reason.clone());
                }
                None
            }
            Trouble::Held(reason) => {
                self.report.held += 1;
                self.in_vain = 0;
                Some((LinkStatus::Held, reason.clone()))
            }
            Trouble::Conflict(reason) => {
                self.report.conflicts += 1;
                self.in_vain = 0;
                Some((LinkStatus::Conflict, reason.clone()))
            }
        }
    }

    fn plan(&mut self, contact: &str, work: Option<&ToWrite>, problem: Option<&str>) {
        if !self.options.dry_run || self.report.planned.len() >= TOLD {
            return;
        }
        if let Some(work) = work {
            self.report.created += u64::from(work.crm_id.is_none());
            self.report.updated += u64::from(work.crm_id.is_some() && !work.plan.to_crm().is_empty());
            self.report.written_back += u64::from(!work.plan.to_allai().is_empty());
        }
        self.report.planned.push(Planned {
            contact: contact.to_owned(),
            record: work.and_then(|work| work.crm_id.clone()),
            to_crm: work.map_or_else(Vec::new, |work| work.plan.to_crm().into_keys().collect()),
            to_allai: work.map_or_else(Vec::new, |work| work.plan.to_allai().into_keys().collect()),
            problem: problem.map(str::to_owned),
        });
    }
}
