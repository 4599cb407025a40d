// Package shared lets package miltertest run many servers in one process, one for each test. libmilter itself runs once
// in a process, and stops for good: here it listens once, for all of them, and each connection is the server's that it
// was announced for. Package milter sets the functions.
package shared

import "net"

var (
	// Listen starts libmilter on a unix socket, with no server of its own, and gives a way to the socket that works
	// without its path where the system has one. It works once in a process.
	Listen func(path string) (dial func() (net.Conn, error), err error)

	// Join makes a server, a *milter.Server, one of those that share libmilter. Its fields for the socket, and the others
	// that libmilter keeps once for the process, are not used. Shutdown and Close end this server alone.
	Join func(server any) error

	// Expect announces a connection to a server that has joined. The MTA offers the actions offered; what it is to
	// send in their place are the actions offer, which carry the connection's number in bits that mean nothing to
	// libmilter. The filter sees offered. cancel takes the announcement back, if it is not used up.
	Expect func(server any, offered uint32) (offer uint32, cancel func())

	// Meet is where an MTA in the same process and the callbacks of a server meet for the race detector, which does not see
	// that a packet to libmilter and the reply to it keep them apart. The MTA calls it before it sends and after it has
	// received.
	Meet func(server any)
)
