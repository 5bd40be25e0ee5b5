//! Drivers of devices (DRA) whose devices are part of the node on which they are given.

/// By default: drivers of GPUs, from their own installations. The chart's `deviceDrivers`.
const KNOWN: [&str; 3] = ["gpu.amd.com", "gpu.intel.com", "gpu.nvidia.com"];

/// What they call themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDrivers(Vec<String>);

impl DeviceDrivers {
    /// Those that this version of Domicile knows.
    #[must_use]
    pub fn known() -> Self {
        KNOWN.into_iter().map(str::to_owned).collect()
    }

    /// Whether the driver is among them.
    #[must_use]
    pub fn contain(&self, driver: &str) -> bool {
        self.0.iter().any(|known| known == driver)
    }
}

impl FromIterator<String> for DeviceDrivers {
    fn from_iter<T: IntoIterator<Item = String>>(drivers: T) -> Self {
        Self(drivers.into_iter().collect())
    }
}
