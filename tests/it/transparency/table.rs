//! Which exchanges are compared?

use super::message::{Content, Lines, noise};

/// One request and its answer.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) method: &'static str,
    pub(super) target: &'static str,
    pub(super) request: Lines,
    pub(super) sent: Content,
    /// Interim answers. The applications here send none over HTTP/2.
    pub(super) interim: Vec<(u16, Lines)>,
    pub(super) status: u16,
    pub(super) answer: Lines,
    pub(super) content: Content,
    pub(super) trailers: Lines,
    /// The application answers before it has read the body.
    pub(super) is_early: bool,
    /// Only over HTTP/2.
    pub(super) is_grpc: bool,
}

fn get(target: &'static str) -> Exchange {
    request("GET", target, Content::Nothing)
}

fn request(method: &'static str, target: &'static str, sent: Content) -> Exchange {
    Exchange {
        method,
        target,
        request: Vec::new(),
        sent,
        interim: Vec::new(),
        status: 200,
        answer: Vec::new(),
        content: Content::Sized(b"hello".to_vec()),
        trailers: Vec::new(),
        is_early: false,
        is_grpc: false,
    }
}

impl Exchange {
    fn asks(mut self, lines: &[(&str, &[u8])]) -> Self {
        self.request.extend(own(lines));
        self
    }

    fn hints(mut self, status: u16, lines: &[(&str, &[u8])]) -> Self {
        self.interim.push((status, own(lines)));
        self
    }

    fn answers(mut self, status: u16, lines: &[(&str, &[u8])], content: Content) -> Self {
        self.status = status;
        self.answer.extend(own(lines));
        self.content = content;
        self
    }

    fn ends_with(mut self, trailers: &[(&str, &[u8])]) -> Self {
        self.trailers = own(trailers);
        let names: Vec<_> = trailers.iter().map(|(name, _)| *name).collect();
        self.answer
            .extend(own(&[("trailer", names.join(", ").as_bytes())]));
        self
    }

    /// Whether the answer has no body, independent of its headers.
    pub(super) fn is_bodiless(&self) -> bool {
        self.method == "HEAD" || self.status == 204 || self.status == 304
    }
}

fn own(lines: &[(&str, &[u8])]) -> Lines {
    (lines.iter())
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect()
}

fn text(text: &str) -> Content {
    Content::Sized(text.as_bytes().to_vec())
}

/// Every exchange.
pub(super) fn exchanges() -> Vec<Exchange> {
    [answers(), bodies(), requests(), streams()].concat()
}

fn answers() -> Vec<Exchange> {
    let nothing = || Content::Sized(Vec::new());
    vec![
        get("/"),
        get("/empty").answers(200, &[], nothing()),
        request("POST", "/new", text("x")).answers(201, &[("location", b"/a/b?c=%20")], nothing()),
        get("/gone").answers(204, &[("x-a", b"b")], Content::Nothing),
        get("/part")
            .asks(&[("range", b"bytes=0-4"), ("if-range", b"\"x\"")])
            .answers(206, &[("content-range", b"bytes 0-4/10")], text("hello")),
        get("/moved").answers(301, &[("location", b"https://other/")], text("xyz")),
        get("/same")
            .asks(&[
                ("if-none-match", b"\"x\", W/\"y\""),
                ("if-modified-since", b"Sat, 29 Oct 1994 19:43:31 GMT"),
            ])
            .answers(304, &[("etag", b"\"x\"")], Content::Nothing),
        get("/who").answers(
            401,
            &[("www-authenticate", b"Basic realm=\"x\"")],
            text("no"),
        ),
        get("/hints")
            .hints(102, &[])
            .hints(103, &[("link", b"</style.css>; rel=preload")])
            .answers(200, &[("link", b"</other.css>; rel=preload")], text("ok")),
        request("POST", "/hints", text("x"))
            .hints(100, &[])
            .answers(404, &[], text("nope")),
        get("/none").answers(404, &[], text("nope")),
        get("/broken").answers(500, &[("server", b"app/1")], text("oops")),
        get("/later").answers(503, &[("retry-after", b"7")], nothing()),
        request("HEAD", "/x", Content::Nothing).answers(200, &[], Content::Sized(vec![b'x'; 500])),
        request("HEAD", "/x", Content::Nothing).answers(404, &[("x-a", b"b")], text("nope")),
        request("HEAD", "/x", Content::Nothing).answers(200, &[], Content::Streamed(Vec::new())),
        get("/cookies").answers(
            200,
            &[
                ("set-cookie", b"a=1; Path=/; HttpOnly"),
                ("set-cookie", b"b=\"2\"; Max-Age=0"),
                ("set-cookie", b"a=3"),
                ("vary", b"Cookie"),
                ("vary", b"Accept"),
            ],
            text("ok"),
        ),
        get("/packed")
            .asks(&[("accept-encoding", b"gzip, br;q=0.5")])
            .answers(
                200,
                &[
                    ("content-encoding", b"gzip"),
                    ("date", b"Sat, 29 Oct 1994 19:43:31 GMT"),
                ],
                Content::Sized(b"\x1f\x8b\x00\xff".to_vec()),
            ),
        get("/odd").answers(
            200,
            &[
                ("x-odd", b"caf\xc3\xa9 \xe9"),
                ("x-tab", b"a\tb"),
                ("x-empty", b""),
                ("x!bang", b"\"a\\\"b\""),
                ("x_under", b"1"),
                ("x.dot", b"2"),
                ("x-user-id", b"theirs"),
            ],
            nothing(),
        ),
    ]
}

fn bodies() -> Vec<Exchange> {
    let large = noise(200_000, 1);
    vec![
        get("/sized").answers(200, &[], Content::Sized(large.clone())),
        get("/chunked").answers(200, &[], Content::Streamed(large.clone())),
        get("/closed").answers(200, &[], Content::UntilTheEnd(large.clone())),
        get("/nothing").answers(200, &[], Content::Streamed(Vec::new())),
        get("/nothing").answers(200, &[], Content::UntilTheEnd(Vec::new())),
        request("PUT", "/sized", Content::Sized(large.clone())),
        request("POST", "/chunked", Content::Streamed(large.clone())),
        request("POST", "/both", Content::Streamed(large.clone())).answers(
            200,
            &[],
            Content::Streamed(large),
        ),
        Exchange {
            is_early: true,
            ..request("POST", "/early", Content::Sized(noise(20_000, 2))).answers(
                413,
                &[],
                text("too much"),
            )
        },
        request("POST", "/wait", text("hello")).asks(&[("expect", b"100-continue")]),
    ]
}

fn requests() -> Vec<Exchange> {
    let mut all: Vec<_> = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        .into_iter()
        .flat_map(|method| {
            [
                request(method, "/x", text("hello")).asks(&[("content-type", b"text/x")]),
                request(method, "/x", Content::Streamed(b"hello".to_vec())),
                request(method, "/x", Content::Sized(Vec::new())),
            ]
        })
        .collect();
    all.extend(
        [
            "/%C3%BC%20x?q=%00&r=../..//;",
            "/a?",
            "/a?b?c",
            "/~a!$&'()*+,:@=-._",
        ]
        .map(get),
    );
    all.extend([
        get("/x").asks(&[
            ("accept", b"a"),
            ("accept", b"b;q=0.1, c"),
            ("x-empty", b""),
            ("x-odd", b"caf\xc3\xa9 \xe9; q=\"\\\"\""),
            ("x-tab", b"a\tb"),
            ("x!bang", b"3"),
            ("x_under", b"1"),
            ("x.dot", b"2"),
        ]),
        get("/x").asks(&[
            ("cookie", b"a=1; b=\"2;3\"; c="),
            ("via", b"1.1 edge"),
            ("origin", b"https://a"),
            ("dnt", b"1"),
            ("user-agent", b"odd/1 (\"x\")"),
        ]),
        get("/x").asks(&[("x-large", &[b'v'; 12_000])]),
    ]);
    all
}

fn streams() -> Vec<Exchange> {
    let events = b": hi\n\nid: 1\ndata: {\"a\": 1}\n\ndata: 2\ndata: 3\n\n";
    let message = b"\0\0\0\0\x05hello";
    let trailers = [("grpc-status", &b"0"[..]), ("grpc-message", b"fine%20x")];
    let call = |sent, content| {
        let mut call = request("POST", "/svc.Of/Method", sent)
            .asks(&[
                ("content-type", b"application/grpc+proto"),
                ("te", b"trailers"),
                ("grpc-timeout", b"30S"),
            ])
            .answers(200, &[("content-type", b"application/grpc+proto")], content);
        call.is_grpc = true;
        call
    };
    let streamed = |count: usize| Content::Streamed(message.repeat(count));
    let failed = [("grpc-status", &b"5"[..]), ("grpc-message", b"none")];
    let mut only_trailers = call(streamed(1), Content::Nothing);
    only_trailers.answer.extend(own(&failed));
    let mut unary = call(streamed(1), streamed(1));
    unary.trailers = own(&trailers);
    let mut many = call(streamed(100), streamed(300));
    many.trailers = own(&failed);
    vec![
        get("/events").answers(
            200,
            &[
                ("content-type", b"text/event-stream"),
                ("cache-control", b"no-store"),
            ],
            Content::Streamed(events.to_vec()),
        ),
        get("/sum")
            .asks(&[("te", b"trailers")])
            .answers(200, &[], Content::Streamed(b"summed".to_vec()))
            .ends_with(&[("x-sum", b"42"), ("x-more", b"a b")]),
        unary,
        many,
        only_trailers,
    ]
}
