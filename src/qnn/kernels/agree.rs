//! Every instruction set computes what `scalar.rs` computes, bit for bit, and touches nothing else.
//!
//! Layers are drawn at random: shapes down to one byte, strides, gaps, dilation, in place, extreme weights and activations, ties
//! in rounding, narrow clamps, scales beyond all reason. Each runs in a buffer between two pages that may not be touched,
//! once against the page behind it (with exactly [`SLACK`] bytes left) and once against the page before it; then the whole
//! buffer must equal the plain version's, so a byte written beside the output shows too.

use super::*;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Small more often than large, from 1.
    fn size(&mut self, most: usize) -> usize {
        let top = 1 + self.below(most);
        1 + self.below(top)
    }

    fn weights(&mut self, count: usize) -> Vec<i8> {
        let kind = self.below(4);
        (0..count)
            .map(|_| match kind {
                0 => self.pick(&[-128, 127]),
                1 => -128,
                _ => self.next() as i8,
            })
            .collect()
    }

    fn scale(&mut self, terms: usize) -> f32 {
        match self.below(12) {
            0 => 0.5,
            1 => 1.0 / 64.0,
            2 => self.pick(&[f32::MIN_POSITIVE, 1e-45, 1e-20, 3.0, 1e9, 1e30, f32::MAX]),
            _ => (0.2 + self.below(1000) as f32 / 500.0) / (terms as f32).sqrt() / 60.0,
        }
    }

    fn clamp(&mut self) -> (i32, u8, u8) {
        let zero = self.pick(&[0, 128, 255, 3, 131]);
        let (low, high) = if self.one_in(2) { (0, 255) } else { (self.below(256) as u8, self.below(256) as u8) };
        (zero, low.min(high), low.max(high))
    }

    fn requant(&mut self, channels: usize, terms: usize) -> Requant {
        let (zero, low, high) = self.clamp();
        let odd = self.one_in(5);
        let usual = |rng: &mut Rng| (0.2 + rng.below(1000) as f32 / 500.0) / (terms as f32).sqrt() / 60.0;
        let scale = (0..channels).map(|_| if odd { self.scale(terms) } else { usual(self) }).collect();
        Requant { scale, zero, low, high }
    }

    fn bias(&mut self, channels: usize, terms: usize) -> Vec<i32> {
        let most = 20_000 * terms;
        let wild = self.one_in(20);
        (0..channels).map(|_| if wild { self.next() as i32 } else { self.below(most) as i32 - most as i32 / 2 }).collect()
    }

    fn sum(&mut self) -> Sum {
        let (zero, low, high) = self.clamp();
        let scale = |rng: &mut Rng| match rng.below(8) {
            0 => 0.5,
            1 => rng.scale(1),
            _ => rng.below(2000) as f32 / 1000.0 + 1e-3,
        };
        let (a_scale, b_scale) = (scale(self), scale(self));
        Sum { a_zero: self.pick(&[0, 128, 255, 77]), a_scale, b_zero: self.pick(&[0, 128, 255, 4]), b_scale, zero, low, high }
    }

    /// Bytes between pixels and rows of a tensor: dense, or with gaps; and how long it is.
    fn steps(&mut self, height: usize, width: usize, channels: usize) -> (usize, usize, usize) {
        let pixel = channels + if self.one_in(3) { self.below(9) } else { 0 };
        let row = width * pixel + if self.one_in(2) { self.below(3) * pixel + self.below(5) } else { 0 };
        (row, pixel, (height - 1) * row + (width - 1) * pixel + channels)
    }
}

/// Places for tensors, in any order, hardly apart.
fn places(rng: &mut Rng, lengths: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i + 1));
    }
    let (mut at, mut offsets) = (rng.below(3), vec![0; lengths.len()]);
    for i in order {
        offsets[i] = at;
        at += lengths[i] + rng.below(3);
    }
    offsets
}

fn conv(rng: &mut Rng) -> Layer {
    let (height, width) = (rng.size(9), rng.size(14));
    let (outputs, depth) = (rng.size(150), if rng.one_in(2) { rng.size(7) } else { rng.size(80) });
    let (kh, kw, stride, dilation) = (rng.size(4), rng.size(4), rng.size(2), rng.size(2));
    let pixel = depth + if rng.one_in(3) { rng.below(5) } else { 0 };
    let across = ((width - 1) * stride + (kw - 1) * dilation + 1) * pixel;
    let row = across + rng.below(7);
    let taps: Vec<usize> = (0..kh * kw).map(|t| (t / kw) * dilation * row + (t % kw) * dilation * pixel).collect();
    let (row_in, pixel_in) = (row * stride, pixel * stride);
    let reads = (height - 1) * row_in + (width - 1) * pixel_in + taps.iter().max().unwrap() + depth;
    let (row_out, pixel_out, writes) = rng.steps(height, width, outputs);
    let (row_other, pixel_other, other) = rng.steps(height, width, outputs);
    let at = places(rng, &[reads, writes, other]);
    let terms = taps.len() * depth;
    let window = Window { height, width, input: at[0], row_in, pixel_in, output: at[1], row_out, pixel_out };
    let residual = match rng.below(4) {
        0 => Some(Residual { offset: at[2], row: row_other, pixel: pixel_other, sum: rng.sum() }),
        1 => Some(Residual { offset: at[1], row: row_out, pixel: pixel_out, sum: rng.sum() }), // in place
        _ => None,
    };
    let (weights, bias, requant) = (rng.weights(outputs * terms), rng.bias(outputs, terms), rng.requant(outputs, terms));
    let most = rng.pick(&[1, 127, 1 << 20]);
    let lift = if rng.one_in(3) { (0..outputs).map(|_| rng.below(2 * most + 1) as i32 - most as i32).collect() } else { vec![] };
    Layer::Conv(Conv { window, taps, depth, outputs, weights, lift, bias, requant, residual })
}

fn depthwise(rng: &mut Rng) -> Layer {
    let (height, width) = (rng.size(9), rng.size(14));
    let channels = if rng.one_in(2) { rng.pick(&[1, 2, 4, 8, 16, 32, 48, 64, 96]) } else { rng.size(150) };
    let (kh, kw) = (rng.pick(&[1, 2, 3, 3, 3, 5, 5, 7, 4]), rng.pick(&[1, 2, 3, 3, 3, 5, 5, 7, 4]));
    let (stride, dilation) = (rng.size(3), rng.size(2));
    let step = channels + if rng.one_in(3) { rng.below(5) } else { 0 };
    let across = ((width - 1) * stride + (kw - 1) * dilation + 1) * step;
    let line = across + if rng.one_in(2) { rng.below(7) } else { 0 };
    let reads = ((height - 1) * stride + (kh - 1) * dilation) * line + across;
    let (row_out, pixel_out, writes) = rng.steps(height, width, channels);
    let at = places(rng, &[reads, writes]);
    let window =
        Window { height, width, input: at[0], row_in: line * stride, pixel_in: step * stride, output: at[1], row_out, pixel_out };
    let parts = rng.pick(&[1, 1, 1, 2, 3]);
    let taps = parts * kh * kw;
    let (weights, bias, requant) = (rng.weights(channels * taps), rng.bias(channels, taps), rng.requant(channels, taps));
    let (row, pixel) = (line * dilation, step * dilation);
    Layer::Depthwise(Depthwise { window, height: kh, width: kw, row, pixel, channels, parts, weights, bias, requant })
}

/// A window over one tensor and an output, and a second tensor: (window, b, its row, its pixel, channels).
fn pair(rng: &mut Rng) -> (Window, usize, usize, usize, usize) {
    let (height, width, channels) = (rng.size(6), rng.size(9), rng.size(140));
    let steps = [(); 3].map(|()| rng.steps(height, width, channels));
    let steps = if rng.one_in(3) { [steps[0]; 3] } else { steps };
    let at = places(rng, &steps.map(|(_, _, length)| length));
    let [(row_in, pixel_in, _), (row_b, pixel_b, _), (row_out, pixel_out, _)] = steps;
    let mut window = Window { height, width, input: at[0], row_in, pixel_in, output: at[2], row_out, pixel_out };
    let (row_b, pixel_b) = rng.pick(&[(row_b, pixel_b), (row_b, pixel_b), (0, 0), (row_b, 0), (0, pixel_b)]);
    if rng.one_in(4) {
        (window.output, window.row_out, window.pixel_out) = (window.input, row_in, pixel_in);
    }
    (window, at[1], row_b, pixel_b, channels)
}

fn bytes(rng: &mut Rng) -> Layer {
    let (window, b, row_b, pixel_b, channels) = pair(rng);
    match rng.below(3) {
        0 => Layer::Add(Add { window, b, row_b, pixel_b, channels, sum: rng.sum() }),
        1 => {
            let (zero, low, high) = rng.clamp();
            let scale = if rng.one_in(2) { rng.scale(1) } else { (1 + rng.below(500)) as f32 * 1e-4 };
            let (a_zero, b_zero) = (rng.pick(&[0, 128, 255, 9]), rng.pick(&[0, 128, 255, 2]));
            Layer::Mul(Mul { window, b, row_b, pixel_b, channels, a_zero, b_zero, scale, zero, low, high })
        }
        _ => Layer::Lookup(Lookup { window, channels, table: Box::new(std::array::from_fn(|_| rng.next() as u8)) }),
    }
}

fn pool(rng: &mut Rng) -> Layer {
    let (height, width, channels) = (rng.size(6), rng.size(6), rng.size(140));
    let (rows_in, columns_in) = (rng.size(9), rng.size(9));
    let span = |rng: &mut Rng, size: usize| {
        let first = rng.below(size);
        (first, 1 + rng.below(size - first))
    };
    let rows: Vec<_> = (0..height).map(|_| span(rng, rows_in)).collect();
    let columns: Vec<_> = (0..width).map(|_| span(rng, columns_in)).collect();
    let (row_in, pixel_in, reads) = rng.steps(rows_in, columns_in, channels);
    let (row_out, pixel_out, writes) = rng.steps(height, width, channels);
    let at = places(rng, &[reads, writes]);
    let window = Window { height, width, input: at[0], row_in, pixel_in, output: at[1], row_out, pixel_out };
    let kind = if rng.one_in(2) {
        PoolKind::Max
    } else {
        let (zero, low, high) = rng.clamp();
        let count = rng.one_in(3).then(|| 1 + rng.below(81));
        let scale = if rng.one_in(4) { rng.scale(1) } else { 0.5 + rng.below(100) as f32 / 50.0 };
        PoolKind::Mean { in_zero: rng.pick(&[0, 128, 255]), scale, count, zero, low, high }
    };
    Layer::Pool(Pool { window, rows, columns, channels, kind })
}

/// Pages that may be used, between two that may not.
struct Guarded {
    base: *mut u8,
    size: usize,
}

#[cfg(target_os = "linux")]
impl Guarded {
    const PAGE: usize = 1 << 16; // as large as any Linux has

    fn new(size: usize) -> Guarded {
        unsafe extern "C" {
            fn mmap(at: *mut u8, size: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
            fn mprotect(at: *mut u8, size: usize, prot: i32) -> i32;
        }
        let size = size.next_multiple_of(Guarded::PAGE);
        // SAFETY: a new private anonymous mapping (PROT_NONE), its inner pages then made readable and writable.
        unsafe {
            let all = mmap(std::ptr::null_mut(), size + 2 * Guarded::PAGE, 0, 0x22, -1, 0);
            assert!(all.addr() != usize::MAX, "mmap");
            let base = all.add(Guarded::PAGE);
            assert_eq!(mprotect(base, size, 3), 0);
            Guarded { base, size }
        }
    }

    /// The first or last `count` bytes.
    fn part(&mut self, count: usize, at_end: bool) -> &mut [u8] {
        assert!(count <= self.size);
        let offset = if at_end { self.size - count } else { 0 };
        // SAFETY: inside the mapping, which lives as long as the process.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(offset), count) }
    }
}

/// The two halves of a layer, one after the other in either order, do what the whole does.
fn halves_agree(layer: &Layer, before: &[u8], expected: &[u8], second_first: bool) {
    let Ok(mut halves) = layer.clone().halves() else { return };
    if second_first {
        halves.reverse();
    }
    for &isa in Isa::available() {
        let mut arena = before.to_vec();
        for half in &halves {
            assert!(half.extent().unwrap() + SLACK <= arena.len(), "a half reaches further than the whole\n{layer:?}");
            // SAFETY: as just asserted.
            unsafe { half.clone().prepare(isa).run(arena.as_mut_ptr()) };
        }
        assert!(arena == expected, "{isa}: halves differ from the whole\n{layer:?}");
    }
}

fn agrees(draw: fn(&mut Rng) -> Layer, seed: u64, rounds: usize) {
    let (mut rng, mut guarded, mut own) = (Rng(seed), Guarded::new(1 << 21), 0);
    for round in 0..rounds {
        let layer = draw(&mut rng);
        let size = layer.extent().unwrap() + SLACK;
        let kind = rng.below(5);
        let before: Vec<u8> = (0..size)
            .map(|_| match kind {
                0 => rng.pick(&[0, 255]),
                1 => 255,
                _ => rng.next() as u8,
            })
            .collect();
        let mut expected = before.clone();
        // SAFETY: as long as `extent` and SLACK say.
        unsafe { layer.clone().prepare(Isa::Scalar).run(expected.as_mut_ptr()) };
        assert_eq!(expected[size - SLACK..], before[size - SLACK..], "the plain version wrote behind its extent");
        if round % 4 == 0 {
            halves_agree(&layer, &before, &expected, round % 8 == 0);
        }
        for &isa in Isa::available().iter().filter(|&&isa| isa != Isa::Scalar) {
            let prepared = layer.clone().prepare(isa);
            own += usize::from(prepared.isa() == isa);
            for at_end in [true, false] {
                let arena = guarded.part(size, at_end);
                arena.copy_from_slice(&before);
                // SAFETY: as above.
                unsafe { prepared.run(arena.as_mut_ptr()) };
                let wrong = (0..size).find(|&i| arena[i] != expected[i]);
                if let Some(i) = wrong {
                    let (got, want) = (arena[i], expected[i]);
                    panic!(
                        "round {round}, {isa}, byte {i} of {size}: {got} instead of {want} (before: {})\n{layer:?}",
                        before[i]
                    );
                }
            }
        }
    }
    // Unreasonable scales go to the plain version; if most layers did, this would test nothing.
    assert!(own * 2 > rounds * (Isa::available().len() - 1), "{own} of {rounds} rounds ran a version of their own");
}

#[test]
fn convolutions_agree() {
    agrees(conv, 1, 1500);
}

#[test]
fn depthwise_convolutions_agree() {
    agrees(depthwise, 2, 2500);
}

#[test]
fn sums_products_and_tables_agree() {
    agrees(bytes, 3, 2000);
}

#[test]
fn pools_agree() {
    agrees(pool, 4, 1000);
}

/// One pixel, one output, 255 * 127 taken `taps` times: 16-bit halves would saturate.
#[test]
fn largest_products_are_exact() {
    for (weight, bias) in [(127i8, 0), (-128, 0), (-127, i32::MAX / 2)] {
        for taps in [1usize, 2, 4, 8, 4096] {
            let window = Window { height: 1, width: 1, input: 0, row_in: 0, pixel_in: 0, output: taps, row_out: 0, pixel_out: 0 };
            let sum = i64::from(weight) * 255 * taps as i64 + i64::from(bias);
            let scale = 100.0 / (sum as f32).abs();
            let requant = Requant { scale: vec![scale], zero: 128, low: 0, high: 255 };
            let (weights, bias) = (vec![weight; taps], vec![bias]);
            let lift = vec![];
            let conv = Conv { window, taps: vec![0], depth: taps, outputs: 1, weights, lift, bias, requant, residual: None };
            for &isa in Isa::available() {
                let mut arena = vec![255u8; taps + 1 + SLACK];
                // SAFETY: extent is taps + 1.
                unsafe { Layer::Conv(conv.clone()).prepare(isa).run(arena.as_mut_ptr()) };
                assert_eq!(i64::from(arena[taps]), 128 + 100 * sum.signum(), "{isa}, {taps} times {weight}");
            }
        }
    }
}

/// Written down by hand from the standard: ties to even, then the zero point, then the clamp.
#[test]
fn rounding_is_half_to_even() {
    let cases = [(1, 0u8), (3, 2), (5, 2), (7, 4), (-1, 0), (509, 254), (511, 255), (600, 255)];
    for (sum, expected) in cases {
        assert_eq!(scalar::quantize(sum as f32 * 0.5, 0, 0, 255), expected, "{sum} / 2");
    }
    assert_eq!(scalar::quantize(-0.5, 128, 0, 255), 128);
    assert_eq!(scalar::quantize(-1.5, 128, 0, 255), 126);
    assert_eq!(scalar::quantize(f32::INFINITY, 128, 3, 200), 200);
    assert_eq!(scalar::quantize(-f32::MAX, 128, 3, 200), 3);
}

#[test]
fn names_are_read_back() {
    for isa in Isa::ALL {
        assert_eq!(isa.to_string().parse(), Ok(isa));
    }
    assert!("sse2".parse::<Isa>().is_err());
    assert_eq!(Isa::available()[0], Isa::Scalar);
}

#[test]
fn tables_of_the_wrong_length_have_no_extent() {
    let mut rng = Rng(5);
    for _ in 0..100 {
        let Layer::Conv(mut conv) = conv(&mut rng) else { unreachable!() };
        assert!(Layer::Conv(conv.clone()).extent().is_some());
        conv.weights.pop();
        assert_eq!(Layer::Conv(conv.clone()).extent(), None);
        conv.weights.push(1);
        conv.window.row_out = usize::MAX / 2;
        conv.window.height = 4;
        assert_eq!(Layer::Conv(conv).extent(), None);
    }
}
