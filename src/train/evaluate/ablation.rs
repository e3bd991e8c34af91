//! [`ablations`]: the judge's model with one group of features left out at a time. The weights that stay are not fitted
//! again, so each result is a lower bound of what the model could do without the group.

use crate::judge::Model;

/// Groups of features by the beginnings of their names; the first that fits counts.
const GROUPS: [(&str, &[&str]); 6] = [
    ("own records", &["r1", "r5", "r15", "r60"]),
    ("time of day", &["h15", "h60"]),
    ("hour of week", &["w60"]),
    ("enough calls", &["lS1", "lS5"]),
    ("how active", &["lrate", "acth", "actm", "actd", "lu"]),
    ("what went before", &["nz15", "nz60", "gap"]),
];

/// Features that no group names.
const REST: &str = "other features";

/// Each group of features that the model has, and the model without it.
pub fn ablations(model: &Model) -> Vec<(String, Model)> {
    let group_of = |feature: &str| {
        GROUPS.iter().find(|(_, features)| features.contains(&feature)).map_or(REST, |(group, _)| *group)
    };
    let mut list: Vec<(String, Model)> = Vec::new();
    for group in GROUPS.iter().map(|(group, _)| *group).chain([REST]) {
        let mut without = model.clone();
        let members = without.features.iter_mut().filter(|additive| group_of(&additive.feature) == group);
        let left_out = members.map(|additive| additive.gain.fill(0.0)).count();
        if left_out > 0 {
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
        let model = Model::from_json(DEFAULT_JSON).expect("the shipped model");
        let ablations = ablations(&model);
        for (place, additive) in model.features.iter().enumerate() {
            let silent = ablations.iter().filter(|(_, without)| without.features[place].gain.iter().all(|g| *g == 0.0));
            assert_eq!(silent.count(), 1, "{}", additive.feature);
        }
    }
}
