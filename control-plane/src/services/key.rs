//! `keeptrusts.v1.KeyService`

use kt_proto::v1::{self, key_service_server::KeyService};
use tonic::{Request, Response, Status};

use super::{Services, actor};

#[tonic::async_trait]
impl KeyService for Services {
    async fn get_key_set(
        &self,
        request: Request<v1::GetKeySetRequest>,
    ) -> Result<Response<v1::GetKeySetResponse>, Status> {
        let state = self.mirror.state();
        Ok(Response::new(self.registry.key_set(&state, &request.get_ref().fleet).await?))
    }

    async fn put_key_set(
        &self,
        request: Request<v1::PutKeySetRequest>,
    ) -> Result<Response<v1::PutKeySetResponse>, Status> {
        let actor = actor(&request)?;
        Ok(Response::new(self.registry.put_key_set(&actor, request.get_ref()).await?))
    }
}
