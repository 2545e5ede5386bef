//! Analytics: reports that show the present, captured once a day and period.

use crate::allai::model::{DailyReport, Json, Overview, Satisfaction};
use crate::allai::{self, Resource};
use crate::warehouse::{AnalyticsCapture, Report, StateUpdate};

use super::{Error, Finding, Run, Tally};

pub(super) async fn run(run: &Run<'_>) -> Result<Finding, Error> {
    let job = run.job;
    let periods = &job.account.periods;
    job.progress.expect(periods.len() as u64);
    let mut failed = None;
    for period in periods {
        capture(run, period, &mut failed).await?;
        job.progress.advance(1);
    }
    let now = job.clock.now();
    Ok(Finding {
        verified: false,
        update: StateUpdate {
            complete_at: failed.is_none().then_some(now),
            rows: job.warehouse.live_rows(run.account(), Resource::Analytics).await?,
            clear_checkpoint: true,
            ..StateUpdate::default()
        },
        incomplete: failed,
        held_back: false,
        as_of: None,
    })
}

/// Fetches the reports of a period that were not captured today, in a full run all, and stores them together. A report
/// that the API refuses is left out and named in `failed`; the others are stored.
async fn capture(run: &Run<'_>, period: &str, failed: &mut Option<String>) -> Result<(), Error> {
    let (job, account, client) = (run.job, run.account(), &run.client);
    let captured_on = client.server_now().date_naive();
    let mut capture = AnalyticsCapture {
        period,
        captured_on,
        overview: None,
        daily: None,
        satisfaction: None,
    };
    let mut fetched = false;
    for report in Report::ALL {
        if !job.options.full
            && job
                .warehouse
                .analytics_captured(account, report, period, captured_on)
                .await?
        {
            continue;
        }
        let answer = match report {
            Report::Overview => run.unless_cancelled(client.analytics_overview(period)).await?,
            Report::Daily => {
                run.unless_cancelled(client.analytics_conversations(period, "day"))
                    .await?
            }
            Report::Satisfaction => run.unless_cancelled(client.analytics_satisfaction(period)).await?,
        };
        let Some(raw) = unless_refused(answer, report, failed)? else {
            continue;
        };
        fetched = true;
        match report {
            Report::Overview => capture.overview = Some(Overview::decode(&raw)),
            Report::Daily => capture.daily = Some(DailyReport::decode(&raw)),
            Report::Satisfaction => capture.satisfaction = Some(Satisfaction::decode(&raw)),
        }
    }
    if fetched {
        let counts = job.warehouse.save_analytics(account, &capture).await?;
        let counted = Tally::from(counts);
        job.progress.wrote(counted.written());
        run.tally().add(&counted);
    }
    Ok(())
}

/// The report, unless the API refuses this one report in a way that another may not share.
fn unless_refused(
    answer: Result<Json, allai::Error>,
    report: Report,
    failed: &mut Option<String>,
) -> Result<Option<Json>, Error> {
    match answer {
        Ok(raw) => Ok(Some(raw)),
        Err(error) if error.stops_account() || error.is_unreachable() => Err(error.into()),
        Err(error) => {
            failed.get_or_insert_with(|| format!("the {} report was not captured: {error}", report.as_str()));
            Ok(None)
        }
    }
}
