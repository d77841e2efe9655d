//! `keeptrusts.v1.PackService`

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use kt_proto::v1::{self, pack_service_server::PackService, upload_pack_response::Result as Uploaded};
use tonic::{Request, Response, Status};

use super::{Services, actor};
use crate::registry::packs;

/// What a source is cut into on its way out.
const PIECE: usize = 64 * 1024;

#[tonic::async_trait]
impl PackService for Services {
    async fn check_pack(
        &self,
        request: Request<v1::CheckPackRequest>,
    ) -> Result<Response<v1::CheckPackResponse>, Status> {
        let admission = self.registry.check_pack(request.into_inner().source).await?;
        Ok(Response::new(v1::CheckPackResponse { pack: admission.pack, findings: admission.findings }))
    }

    async fn upload_pack(
        &self,
        request: Request<v1::UploadPackRequest>,
    ) -> Result<Response<v1::UploadPackResponse>, Status> {
        let actor = actor(&request)?;
        let v1::UploadPackRequest { source, message, request_id } = request.into_inner();
        let uploaded = self.registry.upload(&actor, source, &message, &request_id).await?;
        let (result, is_unchanged) = match uploaded {
            packs::Uploaded::Stored { version, is_unchanged } => (Uploaded::Stored(version), is_unchanged),
            packs::Uploaded::Refused(findings) => (Uploaded::Refused(v1::PackFindings { findings }), false),
        };
        Ok(Response::new(v1::UploadPackResponse { result: Some(result), is_unchanged }))
    }

    async fn list_pack_versions(
        &self,
        request: Request<v1::ListPackVersionsRequest>,
    ) -> Result<Response<v1::ListPackVersionsResponse>, Status> {
        Ok(Response::new(packs::list(&self.mirror.state(), request.get_ref())?))
    }

    async fn get_pack_version(
        &self,
        request: Request<v1::GetPackVersionRequest>,
    ) -> Result<Response<v1::GetPackVersionResponse>, Status> {
        let v1::GetPackVersionRequest { name, version } = request.get_ref();
        let state = self.mirror.state();
        let pack = packs::get(&state, name, version)?;
        let fleets = packs::fleets_of(&state, &pack.digest);
        Ok(Response::new(v1::GetPackVersionResponse { version: pack.record.version.clone(), fleets }))
    }

    type DownloadPackStream = BoxStream<'static, Result<v1::DownloadPackResponse, Status>>;

    async fn download_pack(
        &self,
        request: Request<v1::DownloadPackRequest>,
    ) -> Result<Response<Self::DownloadPackStream>, Status> {
        let v1::DownloadPackRequest { name, version } = request.get_ref();
        let pack = packs::get(&self.mirror.state(), name, version)?;
        let source = self.bodies.get(pack.digest).await?;
        let pieces = stream::iter(pieces(source)).map(|chunk| Ok(v1::DownloadPackResponse { chunk }));
        Ok(Response::new(pieces.boxed()))
    }
}

/// Cuts without copying.
fn pieces(mut source: Bytes) -> impl Iterator<Item = Bytes> + Send {
    std::iter::from_fn(move || {
        let size = source.len().min(PIECE);
        (size > 0).then(|| source.split_to(size))
    })
}
