//! Stores of objects: S3 and compatible ones, Google Cloud Storage, Azure. They are those of the
//! library, with bounded answers and few attempts.
//!
//! The library reads every answer whole: objects, lists, and whatever a server says when
//! it refuses. So its client is wrapped: no body gives more bytes than the bound. Windows
//! are tried again by the outbox, with growing pauses; the library need not insist.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flowmeter_engine::{Error, Kind};
use http_body::{Body, Frame};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::answer::OBJECT_BYTES_MAX;

/// Returns the store of an address and the path in it. References in address and options are
/// replaced. Options that the store does not know are left to other programs.
///
/// # Errors
/// The address or a setting is invalid.
pub(crate) fn open(url: &str, options: &[(String, String)]) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    let wrong = |why: &dyn std::fmt::Display| Error::new(Kind::Invalid, format!("object storage: {why}"));
    let url = crate::expand(url)?;
    let url = Url::parse(&url).map_err(|why| wrong(&format!("{url}: {why}")))?;
    let options = options.iter().map(|(name, value)| Ok((name.to_ascii_lowercase(), crate::expand(value)?)));
    let options = options.collect::<Result<Vec<_>, Error>>()?;
    crate::tls::prefer_ring();
    built(&url, options).map_err(|why| wrong(&why))
}

/// Whether waiting cannot help: the bucket does not exist, or access is denied. For some
/// requests the library says so only in the text of its error.
pub(crate) fn is_lasting(why: &object_store::Error) -> bool {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    const CODES: [&str; 6] = [
        "NoSuchBucket",
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ContainerNotFound",
        "AuthenticationFailed",
    ];
    let is_typed = matches!(why, NotFound { .. } | PermissionDenied { .. } | Unauthenticated { .. });
    is_typed || CODES.iter().any(|code| why.to_string().contains(code))
}

fn built(url: &Url, options: Vec<(String, String)>) -> object_store::Result<(Arc<dyn ObjectStore>, Path)> {
    let (scheme, path) = ObjectStoreScheme::parse(url)?;
    let retry = || RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() };
    macro_rules! built {
        ($builder:ty) => {{
            let builder = <$builder>::new().with_url(url.to_string());
            let set = |builder: $builder, (name, value): (String, String)| match name.parse() {
                Ok(key) => builder.with_config(key, value),
                Err(_) => builder,
            };
            let builder = options.into_iter().fold(builder, set);
            Arc::new(builder.with_retry(retry()).with_http_connector(Bounded(ReqwestConnector::default())).build()?)
        }};
    }
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => built!(AmazonS3Builder),
        ObjectStoreScheme::GoogleCloudStorage => built!(GoogleCloudStorageBuilder),
        ObjectStoreScheme::MicrosoftAzure => built!(MicrosoftAzureBuilder),
        other => {
            let source = format!("{url} is {other:?}; write s3://, gs:// or az://").into();
            return Err(object_store::Error::Generic { store: "object storage", source });
        }
    };
    Ok((store, Path::parse(path)?))
}

/// Makes clients whose answers are bounded, and the client itself.
#[derive(Debug)]
struct Bounded<C>(C);

impl HttpConnector for Bounded<ReqwestConnector> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Bounded(self.0.connect(options)?)))
    }
}

#[async_trait]
impl HttpService for Bounded<HttpClient> {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.execute(request).await?;
        Ok(answer.map(|body| HttpResponseBody::new(BoundedBody { body, left: OBJECT_BYTES_MAX })))
    }
}

/// A body that ends with an error at its bound.
struct BoundedBody {
    body: HttpResponseBody,
    left: usize,
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Poll::Ready(Some(Ok(frame))) = &polled else { return polled };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                polled
            }
            None => {
                let why = std::io::Error::other(format!("the answer has more than {OBJECT_BYTES_MAX} bytes, which is the bound"));
                Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Unknown, why))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
