//! Shows what changes on the line until it is over.

use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use tokio::time::{MissedTickBehavior, interval};

use super::{board::Board, observer::Observer, progress::Progress, row};

/// How often elapsed times are drawn anew.
const REDRAW: Duration = Duration::from_millis(200);

/// Shows these packages until it is `over`, which is asked with every redraw.
pub(crate) async fn follow(
    observer: &mut Observer,
    progress: &mut Progress,
    names: impl Fn(&Board) -> Vec<String>,
    mut over: impl AsyncFnMut(&Observer, &mut Progress) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            news = observer.news() => {
                news?;
                // What has come is shown together: one commit is several records.
                while let Some(news) = observer.news().now_or_never() {
                    news?;
                }
            }
            _ = redraw.tick() => {
                if over(observer, progress).await? {
                    return Ok(());
                }
            }
        }
        let names = names(&observer.board);
        let rows = row::rows(names.iter().map(String::as_str), &observer.board, crate::now());
        progress.show(rows).context("nobody reads what is shown")?;
    }
}
