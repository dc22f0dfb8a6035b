;; The least that an http-wasm guest can do. Its `handle_response` has no code, so the guest is not kept for it.
(module
  (memory (export "memory") 1)
  (func (export "handle_request") (result i64) (i64.const 1))
  (func (export "handle_response") (param $ctx i32) (param $error i32)))
