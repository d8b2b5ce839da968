//! The web page, as `cargo xtask page` has built it from `web/`: part of the binary, so that it always fits the API beside it and needs nothing from elsewhere.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// A file of the page.
struct Asset {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

static ASSETS: [Asset; 5] = [
    Asset {
        path: "/",
        media_type: "text/html; charset=utf-8",
        bytes: include_bytes!("../../../web/dist/index.html"),
    },
    Asset {
        path: "/page.js",
        media_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../../web/dist/page.js"),
    },
    Asset {
        path: "/page.css",
        media_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../../web/dist/page.css"),
    },
    Asset {
        path: "/icon.svg",
        media_type: "image/svg+xml",
        bytes: include_bytes!("../../../web/dist/icon.svg"),
    },
    Asset {
        path: "/licences.txt",
        media_type: "text/plain; charset=utf-8",
        bytes: include_bytes!("../../../web/dist/licences.txt"),
    },
];

/// Whether `path` is one of the page.
pub fn has(path: &str) -> bool {
    ASSETS.iter().any(|asset| asset.path == path)
}

/// The routes of the page.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        let tag = asset.tag();
        router.route(asset.path, get(move |headers: HeaderMap| async move { asset.answer(&tag, &headers) }))
    })
}

impl Asset {
    /// Stands for the bytes.
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.bytes.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }

    /// A browser asks each time whether it has changed: the agent may be another one than before.
    fn answer(&self, tag: &str, headers: &HeaderMap) -> Response {
        let about = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache")];
        if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        (about, [(header::CONTENT_TYPE, self.media_type)], self.bytes).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is, so that no compression is needed to be below that compressed.
    #[test]
    fn the_page_is_light() {
        let weight: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(weight < 150_000, "{weight} bytes");
    }
}
