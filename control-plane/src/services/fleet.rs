//! `keeptrusts.v1.FleetService`

use futures_util::{StreamExt as _, stream::BoxStream};
use kt_proto::v1::{self, fleet_service_server::FleetService};
use tonic::{Request, Response, Status};

use super::{Services, actor, no_such_fleet};
use crate::registry::fleets;

#[tonic::async_trait]
impl FleetService for Services {
    async fn create_fleet(
        &self,
        request: Request<v1::CreateFleetRequest>,
    ) -> Result<Response<v1::CreateFleetResponse>, Status> {
        let actor = actor(&request)?;
        let fleet = self.registry.create_fleet(&actor, request.get_ref()).await?;
        Ok(Response::new(v1::CreateFleetResponse { fleet: Some(fleet) }))
    }

    async fn list_fleets(
        &self,
        _: Request<v1::ListFleetsRequest>,
    ) -> Result<Response<v1::ListFleetsResponse>, Status> {
        Ok(Response::new(v1::ListFleetsResponse { fleets: fleets::list(&self.mirror.state()) }))
    }

    async fn get_fleet(
        &self,
        request: Request<v1::GetFleetRequest>,
    ) -> Result<Response<v1::GetFleetResponse>, Status> {
        let fleet = self.registry.fleet(&request.get_ref().name).await?;
        Ok(Response::new(v1::GetFleetResponse { fleet: Some(fleet) }))
    }

    async fn assign(
        &self,
        request: Request<v1::AssignRequest>,
    ) -> Result<Response<v1::AssignResponse>, Status> {
        let actor = actor(&request)?;
        Ok(Response::new(self.registry.assign(&actor, request.get_ref()).await?))
    }

    async fn list_assignments(
        &self,
        request: Request<v1::ListAssignmentsRequest>,
    ) -> Result<Response<v1::ListAssignmentsResponse>, Status> {
        Ok(Response::new(self.registry.assignments(request.get_ref()).await?))
    }

    async fn get_fleet_status(
        &self,
        request: Request<v1::GetFleetStatusRequest>,
    ) -> Result<Response<v1::GetFleetStatusResponse>, Status> {
        let status = self.delivery.status(&request.get_ref().fleet).await?.ok_or_else(no_such_fleet)?;
        Ok(Response::new(v1::GetFleetStatusResponse { status: Some(status) }))
    }

    type WatchFleetStatusStream = BoxStream<'static, Result<v1::WatchFleetStatusResponse, Status>>;

    async fn watch_fleet_status(
        &self,
        request: Request<v1::WatchFleetStatusRequest>,
    ) -> Result<Response<Self::WatchFleetStatusStream>, Status> {
        let watched =
            self.delivery.watch_status(&request.get_ref().fleet).await?.ok_or_else(no_such_fleet)?;
        let statuses = watched.map(|status| Ok(v1::WatchFleetStatusResponse { status: Some(status) }));
        let draining = self.draining.clone().cancelled_owned();
        Ok(Response::new(statuses.take_until(Box::pin(draining)).boxed()))
    }

    async fn list_gateways(
        &self,
        request: Request<v1::ListGatewaysRequest>,
    ) -> Result<Response<v1::ListGatewaysResponse>, Status> {
        let gateways = self.delivery.gateways(&request.get_ref().fleet).await?.ok_or_else(no_such_fleet)?;
        Ok(Response::new(v1::ListGatewaysResponse { gateways }))
    }

    async fn list_changes(
        &self,
        request: Request<v1::ListChangesRequest>,
    ) -> Result<Response<v1::ListChangesResponse>, Status> {
        Ok(Response::new(self.registry.changes(request.get_ref()).await?))
    }
}
