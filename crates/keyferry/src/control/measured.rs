//! What of this agent is measured: the registry of what runs, in the words of the collector.

use std::path::Path;

use keyferry_config::{ClientIdentity, Destination, Tls, Trust};
use keyferry_kafka::security::validity;
use keyferry_monitor::metrics::{Certificates, ConfigurationStands, Observation, Observed, Shipments};

use crate::live::{Live, Shipment, Standing};

impl Shipments for Live {
    fn observe(&self) -> Vec<Observation> {
        self.shipments().into_iter().map(observation).collect()
    }

    fn is_waiting(&self) -> bool {
        self.waiting().is_some()
    }

    fn configuration(&self) -> Option<ConfigurationStands> {
        self.configuring.with_desk(|desk| desk.stands())
    }
}

fn observation(shipment: Shipment) -> Observation {
    let slot = shipment.slot_name();
    let standing = match shipment.standing {
        Standing::Waiting { backlog_bytes, .. } => Err(backlog_bytes),
        Standing::Running(running) => Ok(Box::new(Observed {
            pool: running.handles.pool.snapshot(),
            tuner: running.handles.tuner.state(),
            registry: running.handles.registry.report(),
            certificates: certificates(&running.handles.tuner.destination()),
            meter: running.handles.meter,
            report: running.report,
            phase: running.phase,
        })),
    };
    Observation { slot, destination: shipment.key.destination, standing }
}

/// Files are read anew each time: they may have been replaced.
fn certificates(destination: &Destination) -> Certificates {
    let Some(Tls { trust, identity, .. }) = &destination.security.tls else { return Certificates::default() };
    let of_file = |path: &Path| std::fs::read(path).map(|pem| validity::ends(&pem)).unwrap_or_default();
    let authorities = match trust {
        Trust::System => Vec::new(),
        Trust::File(path) => of_file(path),
        Trust::Pem(pem) => validity::ends(pem.as_bytes()),
    };
    let client = match identity {
        None => Vec::new(),
        Some(ClientIdentity::PemFiles { certificate, .. }) => of_file(certificate),
        Some(ClientIdentity::Pem { certificate, .. }) => validity::ends(certificate.as_bytes()),
    };
    Certificates {
        client_until_s: client.into_iter().min(),
        authority_until_s: authorities.into_iter().max(),
    }
}
