//! What is the same for everybody: the description, its reference page, the pages of problems.

use std::path::Path;

use axum::{body::Body, http::Request};
use licet_shared::problem::{Problem, ProblemCode};

use crate::support::{Bed, edge::Reply};

async fn get(bed: &Bed, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bed.send(request.body(Body::empty()).unwrap()).await
}

/// What an attribute or a link has between these two.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split_once(after))
        .map(|(inner, _)| inner)
        .collect()
}

#[tokio::test]
async fn the_description_is_anybodys_and_need_not_be_sent_twice() {
    let bed = Bed::new();
    let page = [("origin", "https://anywhere.test")];
    let reply = get(&bed, "/openapi.json", &page).await;
    assert_eq!(reply.json(200)["openapi"], "3.1.0");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert!(reply.header("cache-control").starts_with("public"));
    let tag = reply.header("etag");
    assert!(tag.len() > 10 && tag.starts_with('"'));
    let again = get(&bed, "/openapi.json", &[("if-none-match", tag)]).await;
    again.empty(304);
    assert_eq!(again.header("etag"), tag);
    let other = get(&bed, "/openapi.json", &[("if-none-match", "\"x\"")]).await;
    other.json(200);
}

#[tokio::test]
async fn the_reference_page_needs_nothing_from_elsewhere() {
    let bed = Bed::new();
    for path in ["/docs", "/docs/"] {
        let page = get(&bed, path, &[]).await;
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        for loose in ["unsafe", "http", "*"] {
            assert!(!policy.contains(loose), "{policy}");
        }
        let html = page.text();
        assert!(
            !html.contains("http://") && !html.contains("https://"),
            "{html}"
        );
        let mut named = between(&html, "src=\"", "\"");
        named.extend(between(&html, "href=\"", "\""));
        named.retain(|name| !name.starts_with("data:"));
        assert!(named.len() >= 5, "{named:?}");
        for name in named {
            let file = get(&bed, name, &[]).await;
            assert_eq!(file.status, 200, "{name}");
            assert!(!file.body.is_empty(), "{name}");
            assert_eq!(file.header("x-content-type-options"), "nosniff", "{name}");
            let again = get(&bed, name, &[("if-none-match", file.header("etag"))]).await;
            again.empty(304);
        }
    }
    let nothing = get(&bed, "/docs/../openapi.json", &[]).await;
    assert_eq!(nothing.refused(404), "NOT_FOUND");
    assert_eq!(
        get(&bed, "/docs/index.html", &[]).await.refused(404),
        "NOT_FOUND"
    );
}

#[tokio::test]
async fn every_problem_leads_to_its_page() {
    let bed = Bed::new();
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let list = get(&bed, "/problems", &browser).await.text();
    for code in ProblemCode::ALL {
        let path = Problem::new(*code, "detail", "request").type_;
        let page = get(&bed, &path, &browser).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none';")
        );
        assert_eq!(page.header("vary"), "Accept");
        let text = get(&bed, &path, &[("accept", "*/*")]).await;
        assert!(text.header("content-type").starts_with("text/plain"));
        let status = code.status().to_string();
        for content in [page.text(), text.text()] {
            assert!(content.contains(code.as_str()) && content.contains(&status));
            // Nothing in these needs escaping in HTML but quotes, which text may have.
            assert!(content.contains(code.title()), "{content}");
            assert!(content.contains(code.advice()), "{content}");
        }
        assert!(list.contains(&format!("href=\"{path}\"")), "{path}");
    }
    let nothing = get(&bed, "/problems/no-such-problem", &browser).await;
    assert_eq!(nothing.refused(404), "NOT_FOUND");
}

#[tokio::test]
async fn links_of_the_description_resolve() {
    let bed = Bed::new();
    let description = get(&bed, "/openapi.json", &[]).await.text();
    let mut links = between(&description, "](/", ")");
    links.sort_unstable();
    links.dedup();
    assert!(links.len() > 10, "{links:?}");
    for link in links {
        let reply = get(&bed, &format!("/{link}"), &[]).await;
        assert_eq!(reply.status, 200, "/{link}");
    }
}

#[test]
fn links_between_the_documents_resolve() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut documents = vec![root.join("README.md"), root.join("migrations/README.md")];
    for member in ["shared", "edge", "origin", "tests", "xtask"] {
        documents.push(root.join(member).join("README.md"));
    }
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        documents.push(entry.unwrap().path());
    }
    let mut followed = 0;
    for document in documents
        .iter()
        .filter(|it| it.extension().is_some_and(|it| it == "md"))
    {
        let text = std::fs::read_to_string(document).unwrap();
        for link in between(&text, "](", ")") {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = document.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", document.display());
            followed += 1;
        }
    }
    assert!(followed > 3, "{followed}");
}
