//! The page at `/`.

const PAGE: &str = include_str!("page.html");

/// Fills in the number of the request and of the instance.
pub(crate) fn render(request: u64, instance: u64) -> String {
    PAGE.replace("{request}", &request.to_string())
        .replace("{instance}", &format!("{instance:016x}"))
}
