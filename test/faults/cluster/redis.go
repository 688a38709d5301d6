package cluster

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// redisCommand sends one command without arguments and wants OK.
func redisCommand(ctx context.Context, addr, command string) error {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("redis %s: %w", command, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return fmt.Errorf("redis %s: %w", command, err)
	}
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return fmt.Errorf("redis %s: %w", command, err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("redis %s: %w", command, err)
	}
	if !strings.HasPrefix(answer, "+OK") {
		return fmt.Errorf("redis %s answers %q", command, answer)
	}
	return nil
}
