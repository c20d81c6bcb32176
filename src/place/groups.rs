//! Cells that hang together: runs of every row, joined with those of the row above.
//!
//! One cell may be missing between two of a group. A group's box is drawn around its cells; on each side the outermost row counts for the part
//! that it weighs of the one inside it ([`fine`]), because a thing of three cells seldom begins where a cell does.

use super::ground::{Bits, Masks, Plane, SIDE};

/// Runs of a picture at most; one that has more is noise all over.
const RUNS: usize = 256;
/// Groups that are handed on, the heaviest.
pub(super) const MOST: usize = 8;

/// A group: edges left, top, right and low in cells, and what it weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Group {
    pub edges: [f32; 4],
    pub weight: u32,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Groups {
    list: [Group; MOST],
    count: usize,
}

/// What a run is part of, and where that reaches.
#[derive(Clone, Copy, Default)]
struct Part {
    up: u16,
    count: u16,
    /// Cells that changed just now.
    changed: u16,
    x: (u8, u8),
    y: (u8, u8),
    weight: u32,
}

impl Groups {
    /// Of the cells that count, held together by those that are on; a group has two at least, one of which changed. What is far above `limit`
    /// weighs more.
    pub fn find(Masks { on, changed, counts }: &Masks, apart: &Plane, limit: i16) -> Self {
        if counts.iter().all(|row| *row == 0) {
            return Self::default();
        }
        let mut near = thick(counts);
        near.iter_mut().zip(on).for_each(|(n, on)| *n |= on);
        let mut parts = [Part::default(); RUNS];
        let mut runs = [0u64; RUNS];
        let (mut n, mut above) = (0, 0..0);
        'rows: for y in 0..SIDE {
            let (mut left, start) = (near[y], n);
            while left != 0 {
                if n == RUNS {
                    break 'rows;
                }
                // The lowest ones that follow each other: a carry runs through them.
                let run = left & !left.wrapping_add(left & left.wrapping_neg());
                left &= !run;
                runs[n] = run;
                parts[n] = Part { up: n as u16, x: (SIDE as u8, 0), y: (SIDE as u8, 0), ..Part::default() };
                let mut root = n;
                for k in above.clone() {
                    if runs[k] & (run | run << 1 | run >> 1) != 0 {
                        root = join(&mut parts, k, root);
                    }
                }
                let mut cells = counts[y] & run;
                if cells != 0 {
                    let part = &mut parts[root];
                    part.x = (part.x.0.min(cells.trailing_zeros() as u8), part.x.1.max(64 - cells.leading_zeros() as u8));
                    part.y = (part.y.0.min(y as u8), part.y.1.max(y as u8 + 1));
                    part.count += cells.count_ones() as u16;
                    part.changed += (changed[y] & cells).count_ones() as u16;
                    while cells != 0 {
                        let d = apart[y][cells.trailing_zeros() as usize];
                        part.weight += 1 + u32::from(d / 2 > limit) + 2 * u32::from(d / 4 > limit);
                        cells &= cells - 1;
                    }
                }
                n += 1;
            }
            above = start..n;
        }
        let mut found = Self::default();
        for (k, part) in parts[..n].iter().enumerate() {
            if usize::from(part.up) == k && part.count >= 2 && part.changed >= 1 {
                found.add(Group { edges: [part.x.0, part.y.0, part.x.1, part.y.1].map(f32::from), weight: part.weight });
            }
        }
        found
    }

    /// The heaviest first.
    pub fn heaviest(&self) -> &[Group] {
        &self.list[..self.count]
    }

    fn add(&mut self, group: Group) {
        let at = self.list[..self.count].iter().position(|g| g.weight < group.weight).unwrap_or(self.count);
        if at < MOST {
            self.count = (self.count + 1).min(MOST);
            self.list[at..self.count].rotate_right(1);
            self.list[at] = group;
        }
    }
}

/// The root of a run's part.
fn root(parts: &[Part; RUNS], mut k: usize) -> usize {
    while usize::from(parts[k].up) != k {
        k = usize::from(parts[k].up);
    }
    k
}

/// Makes one part of two; its root.
fn join(parts: &mut [Part; RUNS], a: usize, b: usize) -> usize {
    let (a, b) = (root(parts, a), root(parts, b));
    let (low, high) = (a.min(b), a.max(b));
    if low != high {
        let other = parts[high];
        parts[high].up = low as u16;
        let part = &mut parts[low];
        part.x = (part.x.0.min(other.x.0), part.x.1.max(other.x.1));
        part.y = (part.y.0.min(other.y.0), part.y.1.max(other.y.1));
        part.count += other.count;
        part.changed += other.changed;
        part.weight += other.weight;
    }
    low
}

/// Edges between cells, by what columns and rows weigh; cells that differ by less than a quarter of what differs most are its blur or its shadow.
pub(super) fn fine([left, top, right, low]: [f32; 4], counts: &Bits, apart: &Plane) -> [f32; 4] {
    let (x, y) = (left as usize..right as usize, top as usize..low as usize);
    let within = (u64::MAX >> (SIDE - x.len())) << x.start;
    let mut most = 0;
    for y in y.clone() {
        let mut cells = counts[y] & within;
        while cells != 0 {
            most = most.max(apart[y][cells.trailing_zeros() as usize]);
            cells &= cells - 1;
        }
    }
    let (mut columns, mut rows) = ([0i32; SIDE], [0i32; SIDE]);
    for y in y.clone() {
        let mut cells = counts[y] & within;
        while cells != 0 {
            let x = cells.trailing_zeros() as usize;
            let d = apart[y][x];
            if d >= most / 4 {
                columns[x] += i32::from(d);
                rows[y] += i32::from(d);
            }
            cells &= cells - 1;
        }
    }
    let ((left, right), (top, low)) = (span(&columns[x.clone()]), span(&rows[y.clone()]));
    let (x, y) = (x.start as f32, y.start as f32);
    [x + left, y + top, x + right, y + low]
}

/// Where the weight begins and ends, in parts of a cell. What weighs less than a twentieth of the heaviest is left out; an outermost cell
/// counts whole from two thirds of its neighbour's weight on.
fn span(weights: &[i32]) -> (f32, f32) {
    let least = weights.iter().max().copied().unwrap_or(0) / 20;
    let (Some(a), Some(b)) = (weights.iter().position(|w| *w > least), weights.iter().rposition(|w| *w > least)) else {
        return (0.0, weights.len() as f32);
    };
    if a == b {
        return (a as f32, b as f32 + 1.0);
    }
    // Of two cells neither is the inside; less of one may be left.
    let floor = if b == a + 1 { 0.2 } else { 0.3 };
    let part = |edge: i32, inside: i32| if inside <= 0 { 1.0 } else { (1.5 * edge as f32 / inside as f32).clamp(floor, 1.0) };
    (a as f32 + 1.0 - part(weights[a], weights[a + 1]), b as f32 + part(weights[b], weights[b - 1]))
}

/// Every cell with its eight neighbours.
fn thick(cells: &Bits) -> Bits {
    let across = cells.map(|r| r | r << 1 | r >> 1);
    std::array::from_fn(|y| across[y] | if y > 0 { across[y - 1] } else { 0 } | if y + 1 < SIDE { across[y + 1] } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_together_is_one_group_with_edges_in_parts_of_a_cell() {
        let (mut counts, mut apart) = ([0u64; SIDE], [[0i16; SIDE]; SIDE]);
        let mut put = |x: usize, y: usize, d: i16| {
            counts[y] |= 1 << x;
            apart[y][x] = d;
        };
        // A U of three sides, whose arms meet in the last row only; its left arm covers a third of its outermost column.
        for y in 10..20 {
            put(4, y, 300);
            put(5, y, 900);
            put(12, y, 900);
        }
        (5..=12).for_each(|x| put(x, 20, 900));
        // Something lighter elsewhere, and one cell alone.
        (50..54).for_each(|x| put(x, 40, 300));
        put(60, 60, 3000);
        let find = |counts: Bits, changed: Bits, apart: &Plane, limit| {
            Groups::find(&Masks { on: counts, changed, counts }, apart, limit)
        };
        let groups = find(counts, counts, &apart, 100);
        let found: Vec<[f32; 4]> = groups.heaviest().iter().map(|g| fine(g.edges, &counts, &apart)).collect();
        assert_eq!(found.len(), 2);
        assert!((found[0][0] - 4.55).abs() < 0.01 && found[0][1..] == [10.0, 13.0, 21.0], "{found:?}");
        assert_eq!(found[1], [50.0, 40.0, 54.0, 41.0]);
        assert_eq!(find(counts, [0; SIDE], &apart, 100).heaviest(), [], "nothing changed");
        // Noise all over ends the search, and nothing else.
        let noise = std::array::from_fn(|y| if y % 4 == 0 { 0x1111_1111_1111_1111 } else { 0 });
        assert!(find(noise, noise, &apart, 100).heaviest().len() <= MOST);
        let full = [u64::MAX; SIDE];
        assert_eq!(find(full, full, &[[50; SIDE]; SIDE], 10).heaviest()[0].edges, [0.0, 0.0, 64.0, 64.0]);
    }
}
