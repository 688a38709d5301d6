package warm

import (
	_ "github.com/alicebob/miniredis/v2"
	_ "github.com/gin-gonic/gin"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/nsqio/go-nsq"
	_ "github.com/nsqio/nsq/nsqd"
	_ "github.com/nsqio/nsq/nsqlookupd"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/redis/go-redis/v9"
	_ "github.com/spf13/cobra"
	_ "github.com/spf13/viper"
	_ "go.uber.org/goleak"
	_ "golang.org/x/sys/unix"
	_ "gorm.io/driver/mysql"
	_ "gorm.io/gorm"
	_ "modernc.org/sqlite"
)
