//! `/analytics`, computed from the account as it is.

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use serde_json::json;

use super::{Call, Failure, Reply};
use crate::sandbox::account::Conversation;

impl Call<'_> {
    pub(super) fn overview(&mut self) -> Result<Reply, Failure> {
        let (_, conversations) = self.of_period()?;
        let closed = conversations.iter().filter(|row| row.status == "closed").count();
        let resolved = |row: &&&Conversation| row.resolution.as_deref().is_some_and(|how| how.starts_with("resolved"));
        let resolved = conversations.iter().filter(resolved).count();
        let messages = conversations
            .iter()
            .flat_map(|row| self.state.account.messages(row.key));
        let waits: Vec<u32> = messages.filter_map(|message| message.response_ms).collect();
        let total: u64 = waits.iter().copied().map(u64::from).sum();
        let average_wait = total.checked_div(waits.len() as u64).unwrap_or_default();
        let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
        let mut channels: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &conversations {
            *topics.entry(row.topic).or_default() += 1;
            *channels.entry(&row.channel).or_default() += 1;
        }
        let mut topics: Vec<_> = topics.into_iter().collect();
        topics.sort_by_key(|(topic, count)| (std::cmp::Reverse(*count), *topic));
        let topics: Vec<_> = topics
            .into_iter()
            .map(|(topic, count)| json!({"topic": topic, "count": count}))
            .collect();
        let report = json!({
            "total_conversations": conversations.len(),
            "resolution_rate": rounded(ratio(resolved, closed), 100.0),
            "avg_response_time_ms": average_wait,
            "satisfaction_score": rounded(average_score(&conversations), 10.0),
            "top_topics": topics,
            "conversations_by_channel": channels,
        });
        Ok(Reply::ok(report.to_string()))
    }

    pub(super) fn daily(&mut self) -> Result<Reply, Failure> {
        if let Some(other) = self
            .query
            .get("granularity")
            .filter(|granularity| *granularity != "day")
        {
            return Err(Failure::invalid(&format!(
                "unknown granularity `{other}`; known is day"
            )));
        }
        let (days, conversations) = self.of_period()?;
        let today = self.now.date_naive();
        let mut counts: BTreeMap<NaiveDate, (usize, usize)> = BTreeMap::new();
        for back in 0..days {
            counts.insert(today - TimeDelta::days(back), (0, 0));
        }
        for row in &conversations {
            let count = counts.entry(row.stamps.created.date_naive()).or_default();
            count.0 += 1;
            count.1 += self.state.account.messages(row.key).len();
        }
        let data: Vec<_> = counts
            .into_iter()
            .map(|(date, (conversations, messages))| json!({"date": date, "conversations": conversations, "messages": messages}))
            .collect();
        let report = json!({"period": format!("{days}d"), "granularity": "day", "data": data});
        Ok(Reply::ok(report.to_string()))
    }

    pub(super) fn satisfaction(&mut self) -> Result<Reply, Failure> {
        let (days, conversations) = self.of_period()?;
        let mut distribution: BTreeMap<String, usize> = (1..=5).map(|score: u8| (score.to_string(), 0)).collect();
        let scores = conversations.iter().filter_map(|row| row.score);
        for score in scores.clone() {
            *distribution.entry(score.to_string()).or_default() += 1;
        }
        let report = json!({
            "period": format!("{days}d"),
            "average_score": rounded(average_score(&conversations), 100.0),
            "total_ratings": scores.count(),
            "distribution": distribution,
        });
        Ok(Reply::ok(report.to_string()))
    }

    /// The days of the period and the conversations begun in them.
    fn of_period(&self) -> Result<(i64, Vec<&Conversation>), Failure> {
        let period = self.query.get("period").unwrap_or("30d");
        let days = period
            .strip_suffix('d')
            .and_then(|days| days.parse::<i64>().ok())
            .filter(|days| (1..=365).contains(days));
        let Some(days) = days else {
            return Err(Failure::invalid(&format!(
                "`period` must be like 7d, 30d or 90d, not `{period}`"
            )));
        };
        // Whole days, so that a day's report agrees with the same day in a longer one.
        let first = self.now.date_naive() - TimeDelta::days(days - 1);
        let conversations = self.state.account.conversations.iter();
        Ok((
            days,
            conversations
                .filter(|row| row.stamps.created.date_naive() >= first)
                .collect(),
        ))
    }
}

fn average_score(conversations: &[&Conversation]) -> f64 {
    let scores: Vec<usize> = conversations
        .iter()
        .filter_map(|row| row.score.map(usize::from))
        .collect();
    ratio(scores.iter().sum(), scores.len())
}

fn ratio(part: usize, whole: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

fn rounded(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}
