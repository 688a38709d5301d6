package goodjob

// The texts of the answers are part of the interface. Those of signatures end with a full-width mark, most others with "!".
const (
	textNoKey         = "APP KEY不能为空！"
	textNoApp         = "应用不存在或者未审核！"
	textNonce         = "随机字符串不能小于6位！"
	textNoTime        = "请求日期不能为空！"
	textBadTime       = "请求日期格式有误！"
	textFarTime       = "请求时间与系统偏差过大！"
	textNoSignature   = "签名数据不能为空！"
	textNoVersion     = "版本号不能为空！"
	textBadVersion    = "版本号输入有误！"
	textBadSignature  = "签名校验失败！"
	textRepeated      = "请勿重复提交！"
	textUnreadable    = "数据解析异常！"
	textTooLarge      = "提交数据过大！"
	textAskedBefore   = "请勿重复提交!"
	textNotStored     = "任务记录写入失败!"
	textAbortMissing  = "任务信息获取失败!"
	textAbortLate     = "任务已执行拦截失败!"
	textRetryMissing  = "任务ID输入有误!"
	textRetryRunning  = "任务正在执行，请稍后重试!"
	textDetailMissing = "没有找到相任务记录!"
	textBusy          = "系统繁忙，请稍后重试!"
	textNotFound      = "Not Found."
	textNoMethod      = "Method Not Allowed."
	textInternal      = "Internal Server Error."
	textNeedsAdmin    = "创建应用需要管理员密钥!"
	remarkFailed      = "API接口异常,数据请求失败!"
	remarkIntercepted = "系统拦截"
	remarkLost        = "执行节点异常,任务已重新投递!"
)

// The names of parameters in texts.
const (
	nameApp     = "应用名称"
	nameStep    = "步长值"
	nameRetry   = "重试次数"
	nameURL     = "接口地址"
	nameRemark  = "应用说明"
	nameTaskID  = "任务ID"
	nameTaskNo  = "任务编号"
	nameRuntime = "运行时间"
	nameContent = "任务内容"
	nameStyle   = "签名头格式"
)

// The texts of rules follow a name and a space.
const (
	ruleRequired = "字段是必须的"
	ruleJSON     = "必须是一个合法的 JSON 字符串"
	ruleDate     = "必须是一个合法的日期"
	ruleNumeric  = "必须是数字"
	ruleInteger  = "必须是整数"
	ruleURL      = "无效的格式"
	ruleString   = "必须是字符串"
)
