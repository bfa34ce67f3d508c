//! One tree of an isolation forest.

use crate::random::Random;

/// Columns of a point.
pub(super) const FEATURES: usize = 3;
/// Value, change, short mean.
pub(super) type Point = [f32; FEATURES];

/// Average cuts to a point in a tree of `n`: `c(n) = 2 H(n - 1) - 2 (n - 1) / n` (Liu, Ting and Zhou,
/// equation 1, with the harmonic number written out).
pub(super) fn average_path(n: usize) -> f64 {
    if n < 2 {
        return 0.0;
    }
    let harmonic: f64 = (1..n).map(|i| 1.0 / i as f64).sum();
    2.0 * harmonic - 2.0 * (n - 1) as f64 / n as f64
}

/// What the points of a place have in common, and how they are parted.
#[derive(Debug, Clone, Copy)]
struct Node {
    low: Point,
    high: Point,
    next: Next,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    /// What is below the cut goes to `left`, the rest to the node after it.
    Cut { feature: u8, at: f32, left: u16 },
    /// Not cut any further, the depth was reached or they are all alike: so many cuts would have been
    /// left on average.
    Leaf(f32),
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// A tree of `samples` points drawn from `reservoir` without putting back (at most all of them), as
    /// deep as a balanced one would be.
    pub(super) fn plant(reservoir: &[Point], samples: usize, random: &mut Random) -> Self {
        // The first steps of a Fisher-Yates shuffle.
        let n = samples.min(reservoir.len());
        let mut order: Vec<usize> = (0..reservoir.len()).collect();
        for index in 0..n {
            order.swap(index, random.whole(index, reservoir.len() - 1));
        }
        let mut points: Vec<Point> = order[..n].iter().map(|index| reservoir[*index]).collect();
        let depth = n.max(2).next_power_of_two().ilog2();
        let mut tree = Self { nodes: Vec::new() };
        tree.nodes.extend(points.first().map(alone));
        tree.grow(0, &mut points, depth, random);
        tree.nodes.shrink_to_fit();
        tree
    }

    fn grow(&mut self, place: usize, points: &mut [Point], depth: u32, random: &mut Random) {
        if points.len() < 2 {
            return;
        }
        let mut node = alone(&points[0]);
        for (feature, x) in points.iter().flat_map(|point| point.iter().enumerate()) {
            node.low[feature] = node.low[feature].min(*x);
            node.high[feature] = node.high[feature].max(*x);
        }
        node.next = Next::Leaf(average_path(points.len()) as f32);
        let wide = |feature: &usize| node.low[*feature] < node.high[*feature];
        let features = (0..FEATURES).filter(wide).count();
        let drawn = random.whole(0, features.max(1) - 1);
        let Some(feature) = (0..FEATURES).filter(wide).nth(drawn).filter(|_| depth > 0) else {
            self.nodes[place] = node;
            return;
        };
        let (low, high) = (f64::from(node.low[feature]), f64::from(node.high[feature]));
        // Above the lowest, so that there is a point on each side, also where rounding has it otherwise.
        let at = ((low + (high - low) * random.uniform()) as f32).max(node.low[feature].next_up());
        let mut below = 0;
        for index in 0..points.len() {
            if points[index][feature] < at {
                points.swap(index, below);
                below += 1;
            }
        }
        let left = self.nodes.len();
        node.next = Next::Cut { feature: feature as u8, at, left: left as u16 };
        self.nodes[place] = node;
        self.nodes.extend([alone(&points[0]), alone(&points[below])]);
        let (one, other) = points.split_at_mut(below);
        self.grow(left, one, depth - 1, random);
        self.grow(left + 1, other, depth - 1, random);
    }

    /// Cuts until the point would have been alone, on average, had it been among the tree's.
    ///
    /// The paper sends a point down the tree as it stands, where one far outside falls beside the
    /// outermost point that was seen and is no stranger than that one. Here a cut of the node's box, the
    /// point included, sets it apart with the probability that the cut falls between the two, as in a
    /// random cut forest (Guha and others, 2016) but with the paper's choice of the column. Within `floor`
    /// of a box a point is in it.
    pub(super) fn cuts(&self, point: &Point, floor: f32) -> f64 {
        let (mut place, mut cuts, mut together) = (0, 0.0, 1.0);
        while let Some(node) = self.nodes.get(place) {
            let apart = node.apart(point, floor);
            match node.next {
                Next::Leaf(more) => return cuts + together * (apart + (1.0 - apart) * f64::from(more)),
                Next::Cut { feature, at, left } => {
                    cuts += together;
                    together *= 1.0 - apart;
                    place = usize::from(left) + usize::from(point[usize::from(feature)] >= at);
                }
            }
        }
        cuts
    }

    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.nodes.capacity() * size_of::<Node>()
    }
}

fn alone(point: &Point) -> Node {
    Node { low: *point, high: *point, next: Next::Leaf(0.0) }
}

impl Node {
    /// The probability that the next cut sets the point apart from all that are here.
    fn apart(&self, point: &Point, floor: f32) -> f64 {
        let (mut sum, mut features) = (0.0, 0.0);
        for ((x, low), high) in point.iter().zip(&self.low).zip(&self.high) {
            let width = f64::from(*high) - f64::from(*low);
            let beside = f64::from((low - x).max(x - high) - floor).max(0.0);
            if width + beside > 0.0 {
                sum += beside / (width + beside);
                features += 1.0;
            }
        }
        if features > 0.0 { sum / features } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_path_is_the_papers() {
        // c(2) = 1, c(3) = 2 (1 + 1/2) - 4/3, c(256) = 10.248 7 (10.244 8 where H is taken as ln + gamma).
        assert_eq!((average_path(0), average_path(1), average_path(2)), (0.0, 0.0, 1.0));
        assert!((average_path(3) - 5.0 / 3.0).abs() < 1e-12);
        assert!((average_path(256) - 10.248_7).abs() < 1e-4, "{}", average_path(256));
    }

    #[test]
    fn points_of_a_tree_are_as_deep_as_the_closed_form_says() {
        // A point that is none of the tree's, among uniform ones: c(n) on average, whatever the depth.
        let mut random = Random::new(&[1]);
        let (mut sum, mut count) = (0.0, 0.0);
        for _ in 0..300 {
            let mut point = || [random.uniform() as f32, 0.0, 0.0];
            let points: Vec<Point> = (0..64).map(|_| point()).collect();
            let others: Vec<Point> = (0..16).map(|_| point()).collect();
            let tree = Tree::plant(&points, 64, &mut random);
            sum += others.iter().map(|other| tree.cuts(other, f32::MAX)).sum::<f64>();
            count += others.len() as f64;
        }
        // Cuts are uniform and not at a point: the trees are a little deeper than the model's.
        let (mean, wanted) = (sum / count, average_path(64));
        assert!((mean / wanted - 1.0).abs() < 0.1, "{mean}, wanted {wanted}");
    }

    #[test]
    fn points_that_are_all_alike_make_one_leaf() {
        let tree = Tree::plant(&[[5.0, 0.0, 5.0]; 40], 64, &mut Random::new(&[2]));
        assert!((tree.cuts(&[5.0, 0.0, 5.0], 0.05) - average_path(40)).abs() < 1e-5);
        assert!((tree.cuts(&[5.04, 0.04, 5.0], 0.05) - average_path(40)).abs() < 1e-5);
        assert_eq!(tree.cuts(&[9.0, 4.0, 5.5], 0.05), 1.0);
    }

    #[test]
    fn huge_and_tiny_coordinates_end() {
        let points = [[1e38, -1e38, 1.0], [-1e38, 1e38, 1.0], [1e-45, 0.0, 1.0], [0.0, -1e-45, 1.0]];
        let tree = Tree::plant(&points, 64, &mut Random::new(&[3]));
        assert!(points.iter().all(|point| tree.cuts(point, 0.0).is_finite()));
    }
}
