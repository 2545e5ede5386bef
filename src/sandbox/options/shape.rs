//! The switches of the form of responses.

use clap::{Args, ValueEnum};

/// The form of responses, where the guide is silent.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Form of responses")]
pub struct ShapeOptions {
    /// What a list is wrapped in.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Envelope::Data)]
    pub envelope: Envelope,
    /// What a single object is wrapped in.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = ObjectEnvelope::Bare)]
    pub object_envelope: ObjectEnvelope,
    /// Where a list says how many rows there are in all.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = Totals::Beside)]
    pub totals: Totals,
    /// A list says `has_more`, at the place of the total.
    #[arg(long)]
    pub has_more: bool,
    /// The largest page; a larger `limit` is silently clamped to it.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_limit: u32,
    /// The size of a page when no `limit` is asked for.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub default_limit: u32,
    /// The order of lists.
    #[arg(long, value_name = "ORDER", value_enum, default_value_t = Order::CreatedDesc)]
    pub order: Order,
    /// The order of contacts, if another.
    #[arg(long, value_name = "ORDER", value_enum)]
    pub contacts_order: Option<Order>,
    /// The order of conversations, if another.
    #[arg(long, value_name = "ORDER", value_enum)]
    pub conversations_order: Option<Order>,
    /// The order of a conversation's messages.
    #[arg(long, value_name = "ORDER", value_enum, default_value_t = MessageOrder::OldestFirst)]
    pub message_order: MessageOrder,
    /// The members of a row come in another order in every response.
    #[arg(long)]
    pub shuffle_members: bool,
    /// How timestamps are written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = TimeFormat::Seconds)]
    pub time_format: TimeFormat,
}

/// What a list is wrapped in.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// `[…]`; there is no room for a total.
    Bare,
    /// `{"data": […]}`.
    Data,
    /// `{"items": […]}`.
    Items,
    /// `{"contacts": […]}`, and so on.
    Resource,
    /// `{"data": {"contacts": […]}}`, and so on.
    Nested,
}

/// What a single object is wrapped in.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectEnvelope {
    /// `{…}`.
    Bare,
    /// `{"data": {…}}`.
    Data,
    /// `{"conversation": {…}}`, and so on.
    Resource,
}

/// Where a list says how many rows there are in all.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Totals {
    /// Beside the rows.
    Beside,
    /// In a member `meta`.
    Meta,
    /// In a member `pagination`.
    Pagination,
    /// Nowhere.
    None,
    /// Beside the rows, and never right.
    Wrong,
}

/// The order of a list.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    CreatedDesc,
    /// Oldest first.
    CreatedAsc,
    /// Last changed first.
    UpdatedDesc,
    /// Last changed last.
    UpdatedAsc,
    /// By id, which says nothing of time.
    Id,
}

/// The order of a conversation's messages.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOrder {
    /// As they were said.
    OldestFirst,
    /// The last one first.
    NewestFirst,
}

/// How timestamps are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-01-19T10:30:00Z`, as in the guide.
    Seconds,
    /// `2026-01-19T10:30:00.123456Z`.
    Micros,
    /// `2026-01-19T12:30:00+02:00`.
    Offset,
}
