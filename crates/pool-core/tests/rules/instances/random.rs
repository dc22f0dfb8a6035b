//! What is drawn for instances.

use crate::common::{Rig, exclusive};

/// A seed gives the same draws on every machine and in every version, so that a test or a replay that
/// names one stays what it was. The numbers are those published with the generator.
#[test]
fn the_draws_are_those_of_splitmix64() {
    let published: [u64; 5] = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ];
    let units = published.map(|number| (number >> 11) as f64 / 2f64.powi(53));
    let mut rig = Rig::seeded(exclusive(5), 1_234_567);
    rig.hold_verdicts = true;
    rig.submit_many(5);
    (1..=5).for_each(|instance| rig.started(instance));
    assert_eq!([1, 2, 3, 4, 5].map(|instance| rig.newest_poll(instance).view.random), units);
}
