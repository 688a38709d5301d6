// Package control serves the failpoints of a process over HTTP, for the harness in test/faults. It is linked only into programs
// that are built with the tag faults, and listens only where TASKWEIR_FAULTS_ADDR says.
//
//	PUT    /faults/{point}  puts a failpoint.Rule there, as JSON: {"action":"error","error":"lost_after","skip":2,"times":1}
//	DELETE /faults/{point}  takes it away
//	GET    /faults          {"<point>":{"passed":12,"acted":1}, …} of every point since the process began
package control
