//! The steps of a transaction: what a diff comes down to, and what netlink sends.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BaseChain, ElementData, ElementKey, Family, Rule, Set};

/// One step. The kernel takes all steps of a transaction or none, in their order.
///
/// Everything happens in the table named [`super::TABLE_NAME`] of the family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Create the table.
    AddTable {
        /// Which.
        family: Family,
    },
    /// Delete the table with all that is in it.
    DeleteTable {
        /// Which.
        family: Family,
    },
    /// Create a set without elements.
    AddSet {
        /// In which table.
        family: Family,
        /// Its definition; the elements in it are not sent.
        set: Set,
    },
    /// Delete a set, which no rule may refer to any more.
    DeleteSet {
        /// In which table.
        family: Family,
        /// Its name.
        set: Arc<str>,
    },
    /// Create a chain without rules, or set the policy of an existing base chain.
    AddChain {
        /// In which table.
        family: Family,
        /// Its name.
        chain: Arc<str>,
        /// What makes it a base chain.
        base: Option<BaseChain>,
    },
    /// Delete a chain, which must have no rules and which nothing may refer to any more.
    DeleteChain {
        /// In which table.
        family: Family,
        /// Its name.
        chain: Arc<str>,
    },
    /// Add elements to a set.
    AddElements {
        /// In which table.
        family: Family,
        /// The definition of the set; the elements in it do not matter.
        set: Set,
        /// What to add.
        elements: Vec<(ElementKey, ElementData)>,
    },
    /// Take elements out of a set.
    DeleteElements {
        /// In which table.
        family: Family,
        /// The definition of the set; the elements in it do not matter.
        set: Set,
        /// What to take out.
        elements: Vec<(ElementKey, ElementData)>,
    },
    /// Add a rule before the live rule with that handle, or at the end of the chain.
    AddRule {
        /// In which table.
        family: Family,
        /// In which chain.
        chain: Arc<str>,
        /// The rule.
        rule: Rule,
        /// Handle of the live rule that it goes before; at the end without one.
        before: Option<u64>,
    },
    /// Replace a live rule in its place.
    ReplaceRule {
        /// In which table.
        family: Family,
        /// In which chain.
        chain: Arc<str>,
        /// The handle of the live rule.
        handle: u64,
        /// What it becomes.
        rule: Rule,
    },
    /// Delete a live rule.
    DeleteRule {
        /// In which table.
        family: Family,
        /// In which chain.
        chain: Arc<str>,
        /// Its handle.
        handle: u64,
    },
}
