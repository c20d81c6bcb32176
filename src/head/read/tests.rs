//! What exporters write is read; what is no chain is left with a reason.

use super::*;
use crate::onnx;

fn proto(bundle: &str) -> ModelProto {
    let path = format!("{}/tests/bundles/{bundle}/head.onnx", env!("CARGO_MANIFEST_DIR"));
    onnx::parse(&std::fs::read(path).unwrap()).unwrap()
}

fn read(proto: &ModelProto, window: usize, features: usize) -> Read<Vec<Link>> {
    chain(proto, window, features, Order::BatchFirst)
}

fn node<'a>(proto: &'a mut ModelProto, kind: &str) -> &'a mut NodeProto {
    proto.graph.as_mut().unwrap().node.iter_mut().find(|n| n.op_type == kind).unwrap()
}

/// The chain in words: `LSTM 6 16, dense 4, +`.
fn words(chain: &[Link]) -> String {
    let word = |l: &Link| match l {
        Link::Dense(w) => format!("dense {}", w.values.len() / w.depth),
        Link::With(op, _) => format!("{op:?}"),
        Link::Map(map) => format!("{map:?}"),
        Link::Layer(l) => format!("{:?} {} {}", l.kind, l.input.depth, l.hidden),
    };
    chain.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_exporters_write_is_read_as_the_chain_it_is() {
    for (bundle, window, expected) in [
        ("rows-lstm", 12, "Lstm 6 16, dense 4, Add"),
        ("rows-lstm-hn", 12, "Lstm 6 16, dense 4, Add"),
        ("rows-lstm2", 12, "Lstm 6 12, Lstm 12 12, dense 4, Add"),
        ("rows-gru2", 12, "Gru { late: false } 6 10, Gru { late: false } 10 10, dense 4, Add"),
        ("rows-gru-plain", 12, "Gru { late: true } 6 12, dense 4, Add"),
        ("rows-rnn", 12, "Rnn 6 10, dense 10, Add, Relu, dense 4, Add"),
        ("rows-rnn-last", 6, "Rnn 6 10, dense 4, Add"),
    ] {
        assert_eq!(words(&read(&proto(bundle), window, 6).unwrap()), expected, "{bundle}");
    }
}

#[test]
fn weights_that_are_bytes_in_the_file_are_taken_as_they_are() {
    let chain = read(&proto("rows-lstm-int8"), 8, 6).unwrap();
    let layers: Vec<&Layer> = chain.iter().filter_map(|l| if let Link::Layer(l) = l { Some(l) } else { None }).collect();
    assert_eq!(layers.len(), 2);
    for w in layers.iter().flat_map(|l| [&l.input, &l.recurrent]) {
        let (bytes, scale) = w.bytes.as_ref().unwrap();
        assert_eq!(scale.len() * w.depth, bytes.len());
        let rows = bytes.chunks(w.depth).zip(scale);
        assert!(rows.flat_map(|(r, s)| r.iter().map(move |b| f32::from(*b) * s)).eq(w.values.iter().copied()));
    }
}

#[test]
fn what_is_not_such_a_chain_is_left_with_a_reason() {
    let text = |name: &str, s: &[u8]| tract_onnx::pb::AttributeProto { name: name.into(), s: s.to_vec(), ..Default::default() };
    let refused = |change: fn(&mut ModelProto), attribute: Option<tract_onnx::pb::AttributeProto>| {
        let mut proto = proto("rows-lstm");
        node(&mut proto, "LSTM").attribute.extend(attribute);
        change(&mut proto);
        read(&proto, 8, 6).unwrap_err()
    };
    assert!(refused(|_| (), Some(text("direction", b"reverse"))).contains("not forward"));
    let peephole = |p: &mut ModelProto| {
        let node = node(p, "LSTM");
        node.input.resize(8, String::new());
        node.input[7] = node.input[3].clone();
    };
    assert!(refused(peephole, None).contains("peepholes"));
    assert!(refused(|p| node(p, "Gemm").op_type = "Softmax".into(), None).contains("Softmax"));
    assert!(refused(|p| node(p, "LSTM").input[1] = "nowhere".into(), None).contains("nowhere"));
    assert!(refused(|p| node(p, "LSTM").input.swap(1, 2), None).contains("weights of shape"));
    // Another width than the weights', and none at all.
    assert!(read(&proto("rows-lstm"), 8, 7).is_err());
    assert!(read(&ModelProto::default(), 8, 6).is_err());
}

#[test]
fn a_tick_other_than_the_last_is_not_taken_for_it() {
    let mut proto = proto("rows-lstm");
    let graph = proto.graph.as_mut().unwrap();
    let index = graph.node.iter().find(|n| n.op_type == "Gather" && n.attribute.iter().any(|a| a.name == "axis" && a.i == 1));
    let name = index.unwrap().input[1].clone();
    let constant = graph.node.iter_mut().find(|n| n.output.contains(&name)).unwrap();
    let tensor = constant.attribute[0].t.as_mut().unwrap();
    tensor.raw_data = 3i64.to_le_bytes().to_vec();
    assert!(read(&proto, 8, 6).unwrap_err().contains("Gather"));
    assert!(read(&proto, 4, 6).is_ok(), "in a window of 4 that is the last");
}
