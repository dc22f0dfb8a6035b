;; The same with a `handle_response` that has some: the guest stays with its request to the end.
(module
  (memory (export "memory") 1)
  (func (export "handle_request") (result i64) (i64.const 1))
  (func (export "handle_response") (param $ctx i32) (param $error i32) (drop (local.get $ctx))))
