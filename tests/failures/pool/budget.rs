//! Several pools, one limit.

use futures::future::join_all;
use millpond::{BudgetLimits, Limits, Output, Reason, Share, SharedBudget, Snapshot, WasiHost};
use millpond_tests::{Server, until};

use crate::setup::{Held, Sent, Setup, assert_answer, assert_failure, drain};

async fn serve(
    setup: Setup,
    budget: &SharedBudget,
    guaranteed: usize,
    change: impl FnOnce(&mut Limits) + Send + 'static,
) -> Server {
    let mut share = Share::default();
    share.guaranteed = guaranteed;
    let host = WasiHost::new().output(Output::None);
    let with = |builder: millpond::Builder<_>| {
        builder.budget(budget, share).limits(move |limits| {
            limits.max_instances = 100;
            limits.concurrency = if setup.is_shared() { 2 } else { 1 };
            change(limits);
        })
    };
    setup.serve_host(host, with).await
}

/// Seats on an instance.
fn seats(setup: Setup) -> usize {
    if setup.is_shared() { 2 } else { 1 }
}

/// Requests that are held, on as many instances.
async fn hold(setup: Setup, server: &Server, instances: usize) -> Vec<Held> {
    let mut held = Vec::new();
    for _ in 0..instances * seats(setup) {
        held.push(Held::hold(server).await);
    }
    held
}

fn live(now: &Snapshot) -> usize {
    now.instances.live()
}

async fn a_guarantee_holds_beside_a_flood(setup: Setup) {
    let budget = SharedBudget::new(BudgetLimits::instances(8));
    let quiet = serve(setup, &budget, 2, |_| ()).await;
    let loud = serve(setup, &budget, 0, |_| ()).await;
    let held = hold(setup, &loud, 6).await;
    let waiting: Vec<_> = (0..32).map(|_| Held::send(&loud)).collect();
    let now = loud.until("the rest waits", |now| now.queued == 32).await;
    assert_eq!((live(&now), budget.snapshot().used()), (6, 6), "two are kept for the other");
    assert!(now.pressure);

    for _ in 0..3 {
        assert_answer(&quiet.get("/hello").await, "hello\n");
    }
    let mut both = hold(setup, &quiet, 2).await;
    assert_eq!((live(&quiet.pool.snapshot()), budget.snapshot().used()), (2, 8));
    both.push(Held::send(&quiet));
    quiet.until("beyond its guarantee it waits", |now| now.queued == 1).await;

    let all = held.into_iter().chain(waiting).chain(both);
    for reply in join_all(all.map(Held::let_go)).await {
        assert_answer(&reply, "0");
    }
    drain(&loud).await;
    drain(&quiet).await;
    until("all is given back", || (budget.snapshot().used() == 0).then_some(())).await;
}
setups!(a_guarantee_holds_beside_a_flood);

async fn idle_instances_go_to_the_pool_in_need(setup: Setup) {
    let budget = SharedBudget::new(BudgetLimits::instances(2));
    let first = serve(setup, &budget, 0, |_| ()).await;
    let second = serve(setup, &budget, 0, |_| ()).await;
    for held in hold(setup, &first, 2).await {
        assert_answer(&held.let_go().await, "0");
    }
    first.until("they are idle", |now| now.instances.idle == 2).await;
    let held = hold(setup, &second, 1).await;
    let now = first.until("one was reclaimed", |now| live(now) == 1).await;
    assert_eq!((now.retired.get(Reason::Pressure), now.instances.idle), (1, 1));
    for held in held {
        assert_answer(&held.let_go().await, "0");
    }
    assert_answer(&first.get("/hello").await, "hello\n");
    assert_eq!(first.pool.snapshot().starts, 2, "it kept the other one");
}
setups!(idle_instances_go_to_the_pool_in_need: p2_reused p3_shared);

async fn waiting_for_the_budget_has_a_deadline(setup: Setup) {
    let budget = SharedBudget::new(BudgetLimits::instances(1));
    let first = serve(setup, &budget, 0, |_| ()).await;
    let second = serve(setup, &budget, 0, |limits| {
        limits.queue_timeout = std::time::Duration::from_millis(100);
    })
    .await;
    let held = Held::hold(&first).await;
    let reply = second.get("/hello").await;
    assert_failure(&reply, 503, "connection_limit_reached", "resources exhausted");
    assert_eq!((live(&second.pool.snapshot()), second.pool.snapshot().starts), (0, 0));
    assert_answer(&held.let_go().await, "0");
}
setups!(waiting_for_the_budget_has_a_deadline);

async fn two_floods_never_exceed_their_budget(setup: Setup) {
    let budget = SharedBudget::new(BudgetLimits::instances(4));
    let servers = [serve(setup, &budget, 1, |_| ()).await, serve(setup, &budget, 0, |_| ()).await];
    let sent: Vec<_> = (0..200).map(|n| Sent::get(&servers[n % 2], "/sleep?ms=1")).collect();
    let answered = tokio::spawn(join_all(sent.into_iter().map(Sent::reply)));
    while !answered.is_finished() {
        // Read one after the other, so the sum of the pools' own counts need not be of one moment.
        for server in &servers {
            assert!(live(&server.pool.snapshot()) <= 4);
        }
        assert!(budget.snapshot().used() <= 4);
        tokio::task::yield_now().await;
    }
    for reply in answered.await.expect("no panic") {
        assert_answer(&reply, "slept\n");
    }
    for server in &servers {
        drain(server).await;
    }
    until("all is given back", || (budget.snapshot().used() == 0).then_some(())).await;
}
setups!(two_floods_never_exceed_their_budget);

async fn a_lowered_budget_ends_only_idle_ones(setup: Setup) {
    let budget = SharedBudget::new(BudgetLimits::instances(4));
    let server = serve(setup, &budget, 0, |_| ()).await;
    let held = hold(setup, &server, 4).await;
    budget.set_limits(BudgetLimits::instances(1)).expect("nothing is guaranteed");
    assert_eq!(live(&server.pool.snapshot()), 4, "all of them run");
    for held in held {
        assert_answer(&held.let_go().await, "0");
    }
    server.until("the idle ones are ended", |now| live(now) <= 1).await;
    assert!(budget.set_limits(BudgetLimits::instances(0)).is_ok());
    server.until("the last as well", |now| live(now) == 0).await;
}
setups!(a_lowered_budget_ends_only_idle_ones);

#[tokio::test]
async fn guarantees_beyond_the_budget_are_refused() {
    let budget = SharedBudget::new(BudgetLimits::instances(3));
    let setup = Setup::P2Fresh;
    let _first = serve(setup, &budget, 2, |_| ()).await;
    let mut share = Share::default();
    share.guaranteed = 2;
    let builder = millpond::WasmPool::builder(WasiHost::new()).budget(&budget, share);
    let built = tokio::task::spawn_blocking(move || {
        builder.from_file(millpond_tests::guest(setup.version()))
    });
    let Err(error) = built.await.expect("no panic") else { panic!("three are not four") };
    let text = error.to_string();
    let expected = "the pools are guaranteed 4 instances, and the budget has 3";
    assert!(text.ends_with(expected), "{text}");
}
