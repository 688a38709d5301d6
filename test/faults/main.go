// Command faults runs a whole cluster of Taskweir on this machine, hurts it in every way that docs/faults.md lists, and checks
// its whole history afterwards.
package main

import _ "github.com/Shopify/toxiproxy/v2" // the networks between the processes

func main() {}
