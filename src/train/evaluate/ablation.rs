//! [`ablations`]: the judge's model with one group of features left out at a time. The weights that stay are not fitted
//! again, so each result is a lower bound of what the model could do without the group.

use crate::judge::Model;

/// Groups of features.
const GROUPS: [(&str, &[&str]); 9] = [
    ("own records", &["r1", "r5", "r15", "r60"]),
    ("time of day", &["h15", "h60"]),
    ("hour of week", &["w60"]),
    ("enough calls", &["lS1", "lS5"]),
    ("how active", &["lrate", "acth", "actm", "actd", "lu", "age"]),
    ("spread of days", &["z5", "z60", "sd5", "sd60"]),
    ("what went before", &["nz15", "nz60", "gap"]),
    ("excess and ramp", &["x15", "x60", "ramp"]),
    ("who called", &["mix", "mixn", "newp", "newa", "newf", "top", "errs"]),
];

/// Features that no group names.
const REST: &str = "other features";

/// Each group of features that weighs anything in the model, and the model without it.
pub fn ablations(model: &Model) -> Vec<(String, Model)> {
    let group_of = |feature: &str| {
        GROUPS.iter().find(|(_, features)| features.contains(&feature)).map_or(REST, |(group, _)| *group)
    };
    let mut list: Vec<(String, Model)> = Vec::new();
    for group in GROUPS.iter().map(|(group, _)| *group).chain([REST]) {
        let mut without = model.clone();
        let members = without.features.iter_mut().filter(|additive| group_of(&additive.feature) == group);
        members.for_each(|additive| additive.gain.fill(0.0));
        // Where a group has no weight there is nothing to leave out.
        if without != *model {
            list.push((group.to_owned(), without));
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::DEFAULT_JSON;

    #[test]
    fn every_feature_is_left_out_once() {
        let mut model = Model::from_json(DEFAULT_JSON).expect("the shipped model");
        model.features.iter_mut().for_each(|additive| additive.gain.fill(1.0));
        let ablations = ablations(&model);
        for (place, additive) in model.features.iter().enumerate() {
            let silent = ablations.iter().filter(|(_, without)| without.features[place].gain.iter().all(|g| *g == 0.0));
            assert_eq!(silent.count(), 1, "{}", additive.feature);
        }
    }
}
