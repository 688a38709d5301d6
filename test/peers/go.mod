module github.com/taskweir/taskweir/test/peers

go 1.26.0

require github.com/taskweir/taskweir v0.0.0-00010101000000-000000000000

replace github.com/taskweir/taskweir => ../..
