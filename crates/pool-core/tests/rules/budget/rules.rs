//! The rules of a budget, one by one: who gets what is there, and who gives up what is not.

use millpond_pool_core::state::{Budget, BudgetEffect, Claim};
use millpond_pool_core::{BudgetLimits, MemberId, Share};

/// A budget, and the claims of its pools, which a test changes and sends.
struct Fixture {
    budget: Budget,
    ids: Vec<MemberId>,
    claims: Vec<Claim>,
}

/// Weight, guarantee, and bytes for each instance.
fn share(weight: u32, guaranteed: usize, memory: usize) -> Share {
    let mut share = Share::default();
    (share.weight, share.guaranteed, share.memory) = (weight, guaranteed, memory);
    share
}

impl Fixture {
    fn new(limits: BudgetLimits, shares: &[Share]) -> Self {
        let mut budget = Budget::new(limits);
        let ids: Vec<_> =
            shares.iter().map(|share| budget.handle_join(*share).expect("room")).collect();
        Self { claims: vec![Claim::default(); ids.len()], budget, ids }
    }

    /// A pool, counted from 0, claims something else; what the budget does, each as a line.
    fn claim(&mut self, pool: usize, change: impl FnOnce(&mut Claim)) -> Vec<String> {
        self.claims[pool].revision += 1;
        change(&mut self.claims[pool]);
        self.budget.handle_claim(self.ids[pool], self.claims[pool]);
        self.effects()
    }

    fn effects(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(effect) = self.budget.poll_effect() {
            let member = effect.member();
            let pool = self.ids.iter().position(|id| *id == member).expect("a member");
            lines.push(match effect {
                BudgetEffect::Grant { .. } => format!("grant {pool}"),
                BudgetEffect::Reclaim { .. } => format!("reclaim {pool}"),
                BudgetEffect::Room { .. } => format!("room {pool}"),
                other => panic!("unknown effect {other:?}"),
            });
        }
        lines
    }

    /// A pool has so many instances, all of them idle.
    fn idle(&mut self, pool: usize, many: usize) {
        let granted = self.claim(pool, |claim| claim.wanted = many);
        assert_eq!(granted.len(), many, "{granted:?}");
        self.claim(pool, |claim| {
            (claim.wanted, claim.idle) = (0, many);
            claim.granted += many as u64;
        });
    }
}

#[test]
fn who_wants_gets_what_is_there() {
    let mut fixture = Fixture::new(BudgetLimits::instances(2), &[Share::default()]);
    assert_eq!(fixture.claim(0, |claim| claim.wanted = 3), ["grant 0", "grant 0"]);
    assert_eq!(fixture.budget.used(), 2);
}

#[test]
fn a_grant_on_its_way_is_not_given_twice() {
    let mut fixture = Fixture::new(BudgetLimits::instances(9), &[Share::default()]);
    assert_eq!(fixture.claim(0, |claim| claim.wanted = 1), ["grant 0"]);
    assert_eq!(fixture.claim(0, |claim| claim.idle = 0), [""; 0], "it has not yet seen it");
    assert_eq!(fixture.claim(0, |claim| claim.granted = 1), ["grant 0"], "it wants another");
}

#[test]
fn a_returned_grant_is_given_again() {
    let mut fixture = Fixture::new(BudgetLimits::instances(1), &[Share::default(); 2]);
    assert_eq!(fixture.claim(0, |claim| claim.wanted = 1), ["grant 0"]);
    assert_eq!(fixture.claim(1, |claim| claim.wanted = 1), [""; 0]);
    let unused = |claim: &mut Claim| {
        (claim.wanted, claim.granted, claim.released) = (0, 1, 1);
    };
    assert_eq!(fixture.claim(0, unused), ["grant 1"]);
}

#[test]
fn an_older_claim_changes_nothing() {
    let mut fixture = Fixture::new(BudgetLimits::instances(9), &[Share::default()]);
    fixture.claim(0, |claim| claim.wanted = 1);
    let old = fixture.claims[0];
    fixture.claim(0, |claim| (claim.wanted, claim.granted, claim.idle) = (0, 1, 1));
    let before = fixture.budget.snapshot();
    fixture.budget.handle_claim(fixture.ids[0], old);
    fixture.budget.handle_claim(fixture.ids[0], fixture.claims[0]);
    assert_eq!((fixture.effects().len(), fixture.budget.snapshot()), (0, before));
}

#[test]
fn scarce_grants_go_to_the_least_for_weight() {
    let mut fixture = Fixture::new(BudgetLimits::instances(6), &[share(1, 0, 0), share(2, 0, 0)]);
    fixture.idle(0, 6);
    fixture.claim(0, |claim| (claim.wanted, claim.idle) = (9, 0));
    assert_eq!(fixture.claim(1, |claim| claim.wanted = 9), [""; 0]);
    let granted = fixture.claim(0, |claim| claim.released = 6);
    let of_1 = granted.iter().filter(|line| *line == "grant 1").count();
    assert_eq!((granted.len(), of_1), (6, 4), "{granted:?}");
}

#[test]
fn guaranteed_instances_are_kept_free() {
    let mut fixture = Fixture::new(BudgetLimits::instances(4), &[share(1, 0, 0), share(1, 2, 0)]);
    assert_eq!(fixture.claim(0, |claim| claim.wanted = 9), ["grant 0", "grant 0"]);
    assert_eq!(fixture.claim(1, |claim| claim.wanted = 9), ["grant 1", "grant 1"]);
}

#[test]
fn guaranteed_memory_is_kept_free() {
    let limits = BudgetLimits::instances(9).memory(100);
    let mut fixture = Fixture::new(limits, &[share(1, 0, 10), share(1, 2, 30)]);
    assert_eq!(fixture.claim(0, |claim| claim.wanted = 9).len(), 4, "40 of 100 bytes");
    assert_eq!(fixture.claim(1, |claim| claim.wanted = 9).len(), 2);
}

#[test]
fn guarantees_that_do_not_fit_are_refused() {
    let mut budget = Budget::new(BudgetLimits::instances(4).memory(100));
    let first = budget.handle_join(share(1, 3, 10)).expect("room");
    let error = budget.handle_join(share(1, 2, 10)).expect_err("5 of 4").to_string();
    assert_eq!(error, "the pools are guaranteed 5 instances, and the budget has 4");
    let error = budget.handle_join(share(1, 1, 71)).expect_err("101 of 100").to_string();
    assert_eq!(error, "the pools are guaranteed 101 bytes of memory, and the budget has 100");
    assert!(budget.handle_join(share(1, 1, 70)).is_ok());
    assert!(budget.handle_share(first, share(1, 4, 1)).is_err());
    assert!(budget.handle_share(first, share(9, 3, 10)).is_ok(), "its own does not count twice");
    assert!(budget.handle_limits(BudgetLimits::instances(3)).is_err());
    assert_eq!(budget.limits(), BudgetLimits::instances(4).memory(100), "as before");
    assert!(budget.handle_limits(BudgetLimits::instances(4)).is_ok());
}

#[test]
fn spares_get_what_no_request_wants() {
    let mut fixture = Fixture::new(BudgetLimits::instances(3), &[Share::default(); 2]);
    fixture.idle(0, 3);
    fixture.claim(0, |claim| claim.idle = 0);
    fixture.claim(1, |claim| claim.spares = 2);
    fixture.claim(0, |claim| claim.wanted = 1);
    let granted = fixture.claim(0, |claim| (claim.released, claim.leaving) = (2, 0));
    assert_eq!(granted, ["grant 0", "grant 1"]);
}

#[test]
fn nothing_is_reclaimed_for_spares() {
    let mut fixture = Fixture::new(BudgetLimits::instances(2), &[Share::default(); 2]);
    fixture.idle(0, 2);
    assert_eq!(fixture.claim(1, |claim| claim.spares = 2), [""; 0]);
}

#[test]
fn no_more_is_reclaimed_than_wanted() {
    let mut fixture = Fixture::new(BudgetLimits::instances(5), &[Share::default(); 2]);
    fixture.idle(0, 5);
    assert_eq!(fixture.claim(1, |claim| claim.wanted = 2), ["reclaim 0", "reclaim 0"]);
    assert_eq!(fixture.claim(1, |claim| claim.spares = 1), [""; 0], "they are on their way");
    let left = |claim: &mut Claim| (claim.idle, claim.leaving, claim.reclaims) = (4, 1, 1);
    assert_eq!(fixture.claim(0, left), [""; 0]);
    let gone = |claim: &mut Claim| (claim.idle, claim.reclaims, claim.released) = (3, 2, 1);
    assert_eq!(fixture.claim(0, gone), ["grant 1"]);
}

#[test]
fn reclaims_come_from_the_most_for_weight() {
    let limits = BudgetLimits::instances(9);
    let mut fixture = Fixture::new(limits, &[share(1, 0, 0), share(3, 0, 0), share(1, 0, 0)]);
    fixture.idle(0, 4);
    fixture.idle(1, 5);
    let reclaimed = fixture.claim(2, |claim| claim.wanted = 2);
    assert_eq!(
        reclaimed,
        ["reclaim 0", "reclaim 0"],
        "5 are less than 4 for three times the weight"
    );
}

#[test]
fn guaranteed_instances_are_not_reclaimed() {
    let mut fixture = Fixture::new(BudgetLimits::instances(4), &[share(1, 3, 0), share(1, 0, 0)]);
    fixture.idle(0, 4);
    assert_eq!(fixture.claim(1, |claim| claim.wanted = 4), ["reclaim 0"]);
}

#[test]
fn busy_instances_are_not_reclaimed() {
    let mut fixture = Fixture::new(BudgetLimits::instances(4), &[Share::default(); 2]);
    fixture.idle(0, 4);
    fixture.claim(0, |claim| claim.idle = 1);
    assert_eq!(fixture.claim(1, |claim| claim.wanted = 4), ["reclaim 0"]);
}

#[test]
fn a_failed_reclaim_is_made_elsewhere() {
    let mut fixture = Fixture::new(BudgetLimits::instances(3), &[Share::default(); 3]);
    fixture.idle(0, 2);
    fixture.idle(1, 1);
    assert_eq!(fixture.claim(2, |claim| claim.wanted = 1), ["reclaim 0"]);
    let busy = |claim: &mut Claim| (claim.idle, claim.reclaims) = (0, 1);
    assert_eq!(fixture.claim(0, busy), ["reclaim 1"]);
}

#[test]
fn lower_limits_reclaim_and_grant_nothing() {
    let mut fixture = Fixture::new(BudgetLimits::instances(5), &[Share::default(); 2]);
    fixture.idle(0, 5);
    fixture.budget.handle_limits(BudgetLimits::instances(3)).expect("room");
    assert_eq!(fixture.effects(), ["reclaim 0", "reclaim 0"]);
    fixture.claim(0, |claim| (claim.idle, claim.reclaims, claim.wanted) = (3, 2, 1));
    assert_eq!(fixture.claim(0, |claim| claim.released = 2), [""; 0]);
    assert_eq!(fixture.claim(0, |claim| claim.released = 3), ["grant 0"]);
}

#[test]
fn a_raised_limit_is_given_out_at_once() {
    let mut fixture = Fixture::new(BudgetLimits::instances(1), &[Share::default()]);
    fixture.claim(0, |claim| claim.wanted = 3);
    fixture.budget.handle_limits(BudgetLimits::instances(9)).expect("room");
    assert_eq!(fixture.effects(), ["grant 0", "grant 0"]);
}

#[test]
fn a_pool_that_leaves_gives_back_all_it_had() {
    let mut fixture = Fixture::new(BudgetLimits::instances(2), &[share(1, 1, 0), share(1, 0, 0)]);
    fixture.idle(0, 2);
    fixture.claim(0, |claim| claim.idle = 0);
    fixture.claim(1, |claim| claim.wanted = 2);
    fixture.budget.handle_leave(fixture.ids[0]);
    assert_eq!(fixture.effects(), ["grant 1", "grant 1"]);
    assert_eq!(fixture.claim(0, |claim| claim.wanted = 1), [""; 0], "it is a stranger now");
}

#[test]
fn a_starved_pool_hears_of_dropped_stores() {
    let mut fixture = Fixture::new(BudgetLimits::instances(9), &[Share::default(); 2]);
    fixture.idle(0, 2);
    assert_eq!(fixture.claim(1, |claim| claim.starved = 1), ["reclaim 0"]);
    fixture.claim(0, |claim| (claim.idle, claim.leaving, claim.reclaims) = (1, 1, 1));
    let gone = fixture.claim(0, |claim| (claim.leaving, claim.released, claim.dropped) = (0, 1, 1));
    assert_eq!(gone, ["room 1"], "and the other idle one is not reclaimed for the same need");
    let seen = |claim: &mut Claim| (claim.starved, claim.wanted, claim.rooms) = (0, 1, 1);
    assert_eq!(fixture.claim(1, seen), ["grant 1"]);
}

#[test]
fn a_returned_grant_is_no_allocator_room() {
    let mut fixture = Fixture::new(BudgetLimits::instances(9), &[Share::default(); 2]);
    fixture.claim(0, |claim| claim.wanted = 1);
    fixture.claim(1, |claim| claim.starved = 1);
    let back = |claim: &mut Claim| (claim.wanted, claim.granted, claim.released) = (0, 1, 1);
    assert_eq!(fixture.claim(0, back), [""; 0]);
}

#[test]
fn insufficient_room_reclaims_again() {
    let mut fixture = Fixture::new(BudgetLimits::instances(9), &[Share::default(); 2]);
    fixture.idle(0, 2);
    fixture.claim(1, |claim| claim.starved = 1);
    let gone = |claim: &mut Claim| {
        (claim.idle, claim.reclaims) = (1, 1);
        (claim.released, claim.dropped) = (1, 1);
    };
    fixture.claim(0, gone);
    assert_eq!(fixture.claim(1, |claim| claim.rooms = 1), ["reclaim 0"]);
}

#[test]
fn a_starved_pool_awaits_its_own_drop() {
    let mut fixture = Fixture::new(BudgetLimits::instances(9), &[Share::default(); 2]);
    fixture.idle(0, 2);
    fixture.idle(1, 1);
    let going = |claim: &mut Claim| (claim.idle, claim.leaving, claim.starved) = (0, 1, 1);
    assert_eq!(fixture.claim(1, going), [""; 0]);
}

#[test]
fn each_starved_start_reclaims_one() {
    let mut fixture = Fixture::new(BudgetLimits::instances(9), &[Share::default(); 2]);
    fixture.idle(0, 3);
    let asked = fixture.claim(1, |claim| claim.starved = 2);
    assert_eq!(asked, ["reclaim 0", "reclaim 0"], "and the third one stays");
}

#[test]
fn a_grant_names_its_limits() {
    let mut budget = Budget::new(BudgetLimits::instances(1));
    let member = budget.handle_join(Share::default()).expect("room");
    let mut claim = Claim::default();
    (claim.revision, claim.wanted) = (1, 3);
    budget.handle_claim(member, claim);
    assert_eq!(budget.poll_effect(), Some(BudgetEffect::Grant { member, epoch: 0 }));
    for most in [2, 3] {
        budget.handle_limits(BudgetLimits::instances(most)).expect("room");
        let epoch = most as u64 - 1;
        assert_eq!(budget.poll_effect(), Some(BudgetEffect::Grant { member, epoch }));
        assert_eq!(budget.snapshot().epoch, epoch);
    }
    assert_eq!(budget.poll_effect(), None);
}

#[test]
fn the_snapshot_sums_the_pools_use() {
    let mut fixture = Fixture::new(BudgetLimits::instances(9), &[Share::default(); 2]);
    fixture.idle(0, 3);
    fixture.claim(1, |claim| claim.wanted = 2);
    let snapshot = fixture.budget.snapshot();
    let used: Vec<_> = snapshot.members.iter().map(|member| member.used).collect();
    assert_eq!((used, snapshot.used()), (vec![3, 2], 5), "what was granted counts at once");
}
