//! The process's file descriptors, divided among those who hold them.
//!
//! Where they run out, an accept fails, and a guest that holds many would stop the server. So each has its share, and the
//! shares together are what the operating system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::settings::Settings;
use crate::process::status::print_status;

/// For the process itself: log, timers, core dumps, the cache, names that are looked up.
const RESERVE: u64 = 256;
const LEAST_RESERVE: u64 = 32;

/// Connections to `--admin`.
const ADMIN: usize = 100;

/// Outbound connections of guests, and their files, where there are enough.
const OUTBOUND: usize = 1000;
const FILES: usize = 1000;

/// Requests at the upstream, as [`Upstream`](crate::upstream::Upstream) has them.
const UPSTREAM: usize = 1000;

/// How many descriptors each may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) connections: usize,
    pub(crate) admin: usize,
    pub(crate) outbound: usize,
    pub(crate) files: usize,
    pub(crate) upstream: usize,
}

/// How many each would like.
#[derive(Debug, Clone, Copy)]
struct Wishes {
    connections: usize,
    /// Directories and listeners: they are open all the time.
    fixed: usize,
    outbound: usize,
    files: usize,
    upstream: usize,
}

impl Shares {
    /// Raises the limit as far as it goes, and divides it. Says so where there is less than was asked for.
    pub(crate) fn take(settings: &Settings) -> Self {
        let limit = raise();
        let shares = Self::divide(limit, Wishes::of(settings));
        let asked = settings.max_concurrent_connections;
        if shares.connections < asked {
            print_status(&format!(
                "The limit on open files (ulimit -n) is {limit}: {} connections at once, not {asked}",
                shares.connections
            ));
        }
        for (flag, asked, got) in [
            ("--max-outbound", settings.max_outbound, shares.outbound),
            ("--max-files", settings.max_files, shares.files),
        ] {
            if let Some(asked) = asked.filter(|asked| got < *asked) {
                print_status(&format!(
                    "The limit on open files (ulimit -n) is {limit}: {flag} is {got}, not {asked}"
                ));
            }
        }
        shares
    }

    fn divide(limit: u64, wishes: Wishes) -> Self {
        let reserve = (limit / 4).clamp(LEAST_RESERVE, RESERVE);
        let rest = usize::try_from(limit.saturating_sub(reserve)).unwrap_or(usize::MAX);
        let rest = rest.saturating_sub(wishes.fixed);
        let admin = ADMIN.min(rest / 16).max(1);
        let rest = rest.saturating_sub(admin);
        // Half is for clients, or as many as they may be.
        let others = wishes.outbound.saturating_add(wishes.files).saturating_add(wishes.upstream);
        let for_others = others.min((rest / 2).max(rest.saturating_sub(wishes.connections)));
        let part = |wish: usize| match others {
            0 => 0,
            _ => {
                let part = wish as u128 * for_others as u128 / others as u128;
                usize::try_from(part).unwrap_or(usize::MAX).max(usize::from(wish > 0))
            }
        };
        Self {
            connections: wishes.connections.min(rest.saturating_sub(for_others)).max(1),
            admin,
            outbound: part(wishes.outbound),
            files: part(wishes.files),
            upstream: part(wishes.upstream),
        }
    }
}

impl Wishes {
    fn of(settings: &Settings) -> Self {
        let proxy = settings.upstream.is_some();
        let component = |wish: usize| if proxy { 0 } else { wish };
        let upstream = settings.max_concurrent_requests.unwrap_or(UPSTREAM);
        Self {
            connections: settings.max_concurrent_connections,
            fixed: settings.dirs.len() + 3,
            outbound: component(settings.max_outbound.unwrap_or(OUTBOUND)),
            files: if settings.dirs.is_empty() {
                0
            } else {
                component(settings.max_files.unwrap_or(FILES))
            },
            // As many again may be kept that have nothing to do.
            upstream: if proxy { upstream.saturating_mul(2) } else { 0 },
        }
    }
}

/// Raises the limit of this process to what it may be raised to, and returns it.
fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let hard = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if limit.current != limit.maximum && setrlimit(Resource::Nofile, hard).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    limit.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(connections: usize) -> Wishes {
        Wishes { connections, fixed: 4, outbound: 1000, files: 1000, upstream: 0 }
    }

    #[test]
    fn where_there_are_enough_all_get_theirs() {
        let shares = Shares::divide(1 << 20, wishes(10_000));
        let expected =
            Shares { connections: 10_000, admin: 100, outbound: 1000, files: 1000, upstream: 0 };
        assert_eq!(shares, expected);
        assert_eq!(Shares::divide(u64::MAX, wishes(10_000)), expected);
    }

    #[test]
    fn the_shares_are_never_more_than_the_limit() {
        for limit in [128, 200, 256, 512, 1000, 1024, 4096, 10_000, 12_000, 65_536] {
            for connections in [1, 10, 100, 1000, 10_000, usize::MAX] {
                for (outbound, files, upstream) in
                    [(1000, 1000, 0), (1000, 0, 0), (0, 0, 2000), (usize::MAX, 1, 0), (0, 0, 0)]
                {
                    let wishes = Wishes { connections, fixed: 4, outbound, files, upstream };
                    let shares = Shares::divide(limit, wishes);
                    let sum = shares.connections
                        + shares.admin
                        + shares.outbound
                        + shares.files
                        + shares.upstream
                        + wishes.fixed;
                    let reserve = LEAST_RESERVE as usize;
                    assert!(sum + reserve <= limit as usize + 2, "{limit} {wishes:?} {shares:?}");
                    assert!(shares.connections > 0, "{limit} {wishes:?} {shares:?}");
                    assert!(outbound == 0 || shares.outbound > 0, "{limit} {wishes:?} {shares:?}");
                }
            }
        }
    }
}
