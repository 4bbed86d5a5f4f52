//! The fields a pipeline reads, as a tree of names.

use crate::event::Path;

/// No slot, or no node.
pub(super) const NONE: u16 = u16::MAX;

/// How to handle a member: note it in a slot, descend into it, both or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) slot: u16,
    pub(super) node: u16,
}

impl Target {
    pub(super) const SKIP: Target = Target { slot: NONE, node: NONE };
}

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    children: Vec<(Box<[u8]>, Target)>,
    /// Every slot at or below the children, to forget when the object comes again.
    pub(super) below: Vec<u16>,
}

impl Node {
    pub(super) fn child(&self, name: &[u8]) -> Target {
        let found = self.children.iter().find(|(child, _)| **child == *name);
        found.map_or(Target::SKIP, |(_, target)| *target)
    }
}

/// Paths by slot, arranged for one pass over an event.
#[derive(Clone, Debug)]
pub struct Projection {
    nodes: Vec<Node>,
    width: usize,
}

impl Projection {
    /// A projection whose slot `i` holds path `i`. Paths must differ.
    pub fn new(paths: &[Path]) -> Projection {
        let mut projection = Projection { nodes: vec![Node::default()], width: paths.len() };
        for (slot, path) in paths.iter().enumerate() {
            projection.insert(path, slot as u16);
        }
        projection
    }

    /// Slots in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    pub(super) fn node(&self, node: u16) -> &Node {
        &self.nodes[usize::from(node)]
    }

    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    fn insert(&mut self, path: &Path, slot: u16) {
        let mut node = 0usize;
        let last = path.names().len() - 1;
        for (depth, name) in path.names().iter().enumerate() {
            self.nodes[node].below.push(slot);
            let at = self.child_at(node, name.as_bytes());
            let target = self.nodes[node].children[at].1;
            if depth == last {
                self.nodes[node].children[at].1.slot = slot;
            } else if target.node == NONE {
                let fresh = self.nodes.len() as u16;
                self.nodes.push(Node::default());
                self.nodes[node].children[at].1.node = fresh;
                node = usize::from(fresh);
            } else {
                node = usize::from(target.node);
            }
        }
    }

    fn child_at(&mut self, node: usize, name: &[u8]) -> usize {
        let children = &mut self.nodes[node].children;
        let found = children.iter().position(|(child, _)| **child == *name);
        found.unwrap_or_else(|| {
            children.push((name.into(), Target::SKIP));
            children.len() - 1
        })
    }
}
