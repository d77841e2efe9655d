//! `keeptrusts.v1.TokenService`

use kt_proto::{
    refusal::{Code, Refusal},
    v1::{self, token_service_server::TokenService},
};
use secrecy::ExposeSecret as _;
use tonic::{Request, Response, Status};

use super::{Services, actor, identity};
use crate::registry::tokens;

#[tonic::async_trait]
impl TokenService for Services {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let identity = identity(&request)?;
        let state = self.mirror.state();
        let tokens = state.tokens.values().filter_map(|token| token.record.token.as_ref());
        let token = tokens.into_iter().find(|token| *token.id == **identity.token_id()).cloned();
        let gone = || Refusal::new(Code::TokenUnknown, "nobody knows this token any more");
        Ok(Response::new(v1::WhoAmIResponse { token: Some(token.ok_or_else(gone)?) }))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let actor = actor(&request)?;
        let (token, secret) = self.registry.create_token(&actor, request.get_ref()).await?;
        let secret = secret.expose_secret().to_owned();
        Ok(Response::new(v1::CreateTokenResponse { token: Some(token), secret }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let tokens = tokens::list(&self.mirror.state(), request.get_ref().include_revoked);
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let actor = actor(&request)?;
        let v1::RevokeTokenRequest { id, reason } = request.get_ref();
        let token = self.registry.revoke_token(&actor, id, reason).await?;
        Ok(Response::new(v1::RevokeTokenResponse { token: Some(token) }))
    }
}
