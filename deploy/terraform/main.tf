# A queue that announces the objects of a trail's bucket, its dead-letter queue, and a role that may take messages from
# the queue, list and read the objects, and do nothing else. A bucket has one notification configuration: if yours has one
# already, add the queue to it instead.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "bucket" {
  description = "Name of the bucket that the trail writes to"
  type        = string
}

variable "prefix" {
  description = "What stands before AWSLogs/ in the keys, with a slash at its end"
  type        = string
  default     = ""
}

variable "kms_key_arn" {
  description = "Key that the trail encrypts its objects with, if it has one"
  type        = string
  default     = null
}

variable "assume_role_policy" {
  description = "Who may take on the role, as JSON: an instance, a service account, ..."
  type        = string
}

variable "name" {
  description = "Name of the queue and the role, and what the dead-letter queue's begins with"
  type        = string
  default     = "highwater"
}

data "aws_partition" "current" {}

locals {
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket}"
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "trail" {
  name                       = var.name
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 30
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  # The sidecar shows and hides a message while an object is slow: only what nobody can take comes this often.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 50
  })
}

data "aws_iam_policy_document" "announce" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.trail.arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.bucket_arn]
    }
  }
}

resource "aws_sqs_queue_policy" "trail" {
  queue_url = aws_sqs_queue.trail.url
  policy    = data.aws_iam_policy_document.announce.json
}

resource "aws_s3_bucket_notification" "trail" {
  bucket = var.bucket
  queue {
    queue_arn     = aws_sqs_queue.trail.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "${var.prefix}AWSLogs/"
    filter_suffix = ".json.gz"
  }
  depends_on = [aws_sqs_queue_policy.trail]
}

data "aws_iam_policy_document" "read" {
  statement {
    actions = [
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
      "sqs:GetQueueAttributes",
    ]
    resources = [aws_sqs_queue.trail.arn]
  }
  statement {
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${var.prefix}AWSLogs/*"]
  }
  # Without it S3 says of an object that is not there that it may not be read, and it is asked for in vain for long.
  statement {
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "highwater" {
  name               = var.name
  assume_role_policy = var.assume_role_policy
}

resource "aws_iam_role_policy" "read" {
  name   = "read-trail"
  role   = aws_iam_role.highwater.id
  policy = data.aws_iam_policy_document.read.json
}

output "queue_url" {
  description = "For highwater watch --sqs"
  value       = aws_sqs_queue.trail.url
}

output "role_arn" {
  description = "For serviceAccount.roleArn of the chart, or --role"
  value       = aws_iam_role.highwater.arn
}
