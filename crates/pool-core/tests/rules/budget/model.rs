//! A second opinion on a budget: what each pool has and wants, told from the claims that arrived and
//! the effects that came out. It shares no code with the budget.

use millpond_pool_core::state::Claim;
use millpond_pool_core::{BudgetLimits, Share};

#[derive(Clone, Copy, Debug)]
struct Entry {
    share: Share,
    claim: Claim,
    granted: u64,
    reclaims: u64,
    rooms: u64,
}

impl Entry {
    fn used(&self) -> i128 {
        i128::from(self.granted) - i128::from(self.claim.released)
    }

    fn unseen(&self) -> i128 {
        i128::from(self.granted) - i128::from(self.claim.granted)
    }

    fn wanted(&self) -> i128 {
        (self.claim.wanted as i128 - self.unseen()).max(0)
    }

    fn spares(&self) -> i128 {
        let beyond = (self.unseen() - self.claim.wanted as i128).max(0);
        (self.claim.spares as i128 - beyond).max(0)
    }

    fn starved(&self) -> i128 {
        let rooms = i128::from(self.rooms) - i128::from(self.claim.rooms);
        (self.claim.starved as i128 - rooms).max(0)
    }

    fn asked(&self) -> i128 {
        let asked = i128::from(self.reclaims) - i128::from(self.claim.reclaims);
        asked.min(self.claim.idle as i128)
    }

    fn idle(&self) -> i128 {
        self.claim.idle as i128 - self.asked()
    }

    fn leaving(&self) -> i128 {
        self.claim.leaving as i128 + self.asked()
    }

    fn guaranteed(&self) -> i128 {
        self.share.guaranteed as i128
    }

    /// What it may give up: idle, and beyond its guarantee.
    fn beyond(&self) -> i128 {
        self.idle().min(self.used() - self.leaving() - self.guaranteed()).max(0)
    }

    /// What is on its way back to the others.
    fn coming_back(&self) -> i128 {
        self.leaving().min(self.used() - self.guaranteed()).max(0)
    }

    /// Whether it has less for its weight.
    fn has_less_than(&self, other: &Self) -> bool {
        let weight = |entry: &Self| i128::from(entry.share.weight.max(1));
        self.used() * weight(other) < other.used() * weight(self)
    }
}

#[derive(Debug)]
pub(super) struct Model {
    limits: BudgetLimits,
    entries: Vec<Entry>,
    /// Neither limits nor shares have changed: what is guaranteed is there.
    calm: bool,
}

impl Model {
    pub(super) fn new(limits: BudgetLimits, shares: &[Share]) -> Self {
        let entry = |share: &Share| {
            let (granted, reclaims, rooms) = (0, 0, 0);
            Entry { share: *share, claim: Claim::default(), granted, reclaims, rooms }
        };
        Self { limits, entries: shares.iter().map(entry).collect(), calm: true }
    }

    pub(super) fn claims(&mut self, pool: usize, claim: Claim) {
        let newest = &mut self.entries[pool].claim;
        if claim.revision > newest.revision {
            *newest = claim;
        }
    }

    pub(super) fn limits(&mut self, limits: BudgetLimits) {
        (self.limits, self.calm) = (limits, false);
    }

    pub(super) fn share(&mut self, pool: usize, share: Share) {
        (self.entries[pool].share, self.calm) = (share, false);
    }

    pub(super) fn used(&self, pool: usize) -> usize {
        usize::try_from(self.entries[pool].used()).expect("no less than nothing")
    }

    pub(super) fn wanted(&self, pool: usize) -> usize {
        usize::try_from(self.entries[pool].wanted()).expect("no less than nothing")
    }

    /// Instances and bytes that no pool has.
    fn free(&self) -> [i128; 2] {
        let memory = |entry: &Entry| entry.used() * entry.share.memory as i128;
        let instances: i128 = self.entries.iter().map(Entry::used).sum();
        let memory: i128 = self.entries.iter().map(memory).sum();
        [self.limits.max_instances as i128 - instances, self.limits.max_memory as i128 - memory]
    }

    /// Whether there is one for this pool, with what others are guaranteed set aside.
    fn fits(&self, pool: usize) -> bool {
        let one = &self.entries[pool];
        let mut left = self.free();
        if one.used() >= one.guaranteed() {
            for (_, other) in self.entries.iter().enumerate().filter(|(other, _)| *other != pool) {
                let kept = (other.guaranteed() - other.used()).max(0);
                left = [left[0] - kept, left[1] - kept * other.share.memory as i128];
            }
        }
        left[0] >= 1 && left[1] >= one.share.memory as i128
    }

    pub(super) fn saw_grant(&mut self, pool: usize) {
        let hungry = (0..self.entries.len()).filter(|other| self.entries[*other].wanted() > 0);
        let able: Vec<usize> = hungry.filter(|other| self.fits(*other)).collect();
        let one = &self.entries[pool];
        assert!(self.fits(pool), "what was given was not there, or not free");
        if able.is_empty() {
            assert!(one.spares() > 0, "a grant that no pool asked for");
        } else {
            assert!(able.contains(&pool), "a spare went before a request");
            let less = able.iter().find(|other| self.entries[**other].has_less_than(one));
            assert_eq!(less, None, "another pool has less for its weight than {pool}");
        }
        self.entries[pool].granted += 1;
        let [instances, memory] = self.free();
        assert!(instances >= 0 && memory >= 0, "more than the limits");
    }

    pub(super) fn saw_reclaim(&mut self, pool: usize) {
        let victim = self.entries[pool];
        assert!(victim.beyond() > 0, "what is guaranteed, or busy, was asked back");
        let all = self.entries.iter().enumerate();
        let hungry: Vec<usize> = all
            .filter(|(_, entry)| entry.wanted() + entry.starved() > 0)
            .map(|(hungry, _)| hungry)
            .collect();
        let [free, memory] = self.free();
        let over = free < 0 || memory < 0;
        let most_among_others = |besides: Option<usize>| {
            let others = self.entries.iter().enumerate();
            let mut others = others.filter(|(other, _)| Some(*other) != besides);
            Some(pool) != besides
                && !others.any(|(_, other)| other.beyond() > 0 && victim.has_less_than(other))
        };
        let fair = hungry.iter().any(|hungry| most_among_others(Some(*hungry)));
        assert!(fair || (over && most_among_others(None)), "not the one that has most");
        // How many bytes make up for how many instances is another question.
        if self.entries.iter().all(|entry| entry.share.memory == 0) {
            let coming: i128 = self.entries.iter().map(Entry::coming_back).sum();
            let needed = self.entries.iter().map(|entry| entry.wanted() + entry.starved());
            // What is guaranteed and neither used nor free was promised when others had it.
            let kept = self.entries.iter().map(|entry| (entry.guaranteed() - entry.used()).max(0));
            let needed = needed.sum::<i128>() + (kept.sum::<i128>() - free).max(0);
            assert!(coming < needed, "{coming} come back for {needed} that are needed");
        }
        self.entries[pool].reclaims += 1;
    }

    pub(super) fn saw_room(&mut self, pool: usize) {
        assert!(self.entries[pool].starved() > 0, "room for a pool that needs none");
        self.entries[pool].rooms += 1;
    }

    /// After all effects, no pool wants capacity that is free, and each has got what is guaranteed to it.
    pub(super) fn check(&self) {
        for (pool, entry) in self.entries.iter().enumerate() {
            let wants = entry.wanted() + entry.spares() > 0;
            assert!(!(wants && self.fits(pool)), "{pool} wants what is free");
            let within = entry.used() < entry.guaranteed();
            assert!(!(self.calm && within && entry.wanted() > 0), "{pool} waits for its own");
        }
    }

    /// At rest: no pool waits while another could give up something.
    pub(super) fn check_rest(&self) {
        for (pool, hungry) in self.entries.iter().enumerate().filter(|(_, e)| e.wanted() > 0) {
            let others = self.entries.iter().enumerate().filter(|(other, _)| *other != pool);
            let beyond: i128 = others.map(|(_, other)| other.beyond()).sum();
            assert_eq!(beyond, 0, "{pool} waits in vain: {hungry:?}");
        }
    }
}
